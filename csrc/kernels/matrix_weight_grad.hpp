// How is the gradient of a whole weight summed on a matrix unit? Input cells times output gradients, both as they lie.
//
// An input's cells, 32 images of a pixel and channel, are rows of a left tile without being touched. The gradients of a
// few pixels are transposed, so that a right tile's columns are output channels, and all taps and channels pass over
// them. The sums of all weights wait in the level-2 cache.
#pragma once

#include "kernels/grid.hpp"
#include "kernels/matrix.hpp"
#include "kernels/square.hpp"

namespace mezzotint {
namespace {

// A right tile: words of 16 cells, which lie `step` apart, become the columns.
inline MEZZOTINT_INLINE void turn_cells(const Cell* from, std::int64_t step, Cell* to) {
  Square<float, 16> words;
#pragma GCC unroll 16
  for (std::int64_t i = 0; i < kTileRows; ++i) {
    words.row[i] = load_row<float, 16>(reinterpret_cast<const float*>(from + i * step));
  }
  transpose(words);
#pragma GCC unroll 16
  for (std::int64_t i = 0; i < kTileRows; ++i) {
    store_row<float, 16>(reinterpret_cast<float*>(to + i), words.row[i]);
  }
}

// Turns the gradients of a tile into [block of outputs][pixel][2][kTileRows].
void turn_gradients(const MatrixGradJob& job, const Cell* gy, std::int64_t columns, Cell* turned) {
  for (std::int64_t out = 0; out < job.outs; out += kTileRows) {
    Cell* const block = turned + (out / kMatrixOuts * kMatrixPixels * 2 + out / kTileRows % 2) * kTileRows;
    for (std::int64_t pixel = 0; pixel < columns; ++pixel) {
      turn_cells(gy + out * job.gy_channel + pixel, job.gy_channel, block + pixel * 2 * kTileRows);
    }
  }
}

void matrix_weight_grad(const MatrixGradJob& job, std::int64_t first_tile, std::int64_t last_tile, bool fresh,
                        Cell* turned, float* sums) {
  begin_products();
  for (std::int64_t number = first_tile; number < last_tile; ++number) {
    const GridTile tile = grid_tile({job.rows, job.columns, 1, job.tile_columns}, number);
    const Cell* gy = job.gy + tile.block * job.gy_block + tile.row * job.gy_row + tile.column;
    const Cell* x = job.x + tile.block * job.x_block + tile.row * job.x_row + tile.column * job.x_column;
    turn_gradients(job, gy, tile.columns, turned);
    float* to = sums;
    for (std::int64_t tap = 0; tap < job.tap_count; ++tap) {
      for (std::int64_t channel = 0; channel < job.channels; channel += kMatrixColumns) {
        const Left inputs{x + job.taps[tap] + channel * job.x_channel, job.x_channel, job.x_column};
        for (std::int64_t out = 0; out < job.outs; out += kMatrixOuts, to += kSumsTogether) {
          const Cell* const gradients = turned + out / kMatrixOuts * kMatrixPixels * 2 * kTileRows;
          add_products(to, fresh, inputs, {gradients, kInTurn}, tile.columns);
        }
      }
    }
    fresh = false;
  }
  end_products();
}

}  // namespace
}  // namespace mezzotint
