// How is a sparse convolution summed where its weights pay as a whole matrix? The gather of gather.hpp on a matrix
// unit.
//
// Inputs are joined to pairs of columns (matrix_join.hpp), and every output channel's weights, zeros included, pass
// over those of a few pixels, part by part: either the weights of 32 channels lie in level 1 meanwhile and the inputs
// in level 2, or the inputs of one pixel lie in level 1. A unit that multiplies sixteen times as fast as the vectors
// makes up for zeros at densities above some six percent. An output is summed in the order of the columns whatever the
// tile.
#pragma once

#include "kernels/matrix_finish.hpp"
#include "kernels/matrix_join.hpp"
#include "kernels/matrix_sum.hpp"

namespace mezzotint {
namespace {

// A share of something to be fetched, handed out over the steps of a tile.
class FetchAhead {
 public:
  FetchAhead(const Ahead& what, std::int64_t piece, std::int64_t pieces, std::int64_t steps)
      : what_(what), share_(piece * what.channels / pieces, (piece + 1) * what.channels / pieces, steps) {}
  inline MEZZOTINT_INLINE void step() {
    share_.step([&](std::int64_t first, std::int64_t last) MEZZOTINT_INLINE { fetch(what_, first, last); });
  }

 private:
  Ahead what_;
  Evenly share_;
};

// What is asked for while a tile is summed: of what the job names, and of what tiles will read.
struct Fetching {
  FetchAhead named, inputs;
  inline MEZZOTINT_INLINE void step() {
    named.step();
    inputs.step();
  }
};

// The share of this tile in what the next row of a window's tiles reads.
inline FetchAhead next_row(const GatherJob& job, const GridTile& tile, const JoinedRows& rows, std::int64_t steps) {
  const std::int64_t tiles = (job.columns + job.tile_columns - 1) / job.tile_columns;
  return {job.window.rows > 0 ? rows.ahead_of(tile) : Ahead{}, tile.number % tiles, tiles, steps};
}

// The inputs of the next tile: all that one row of stored cells holds of them, which is all of a pointwise layer's.
inline FetchAhead next_tile(const GatherJob& job, const GridTile& tile, bool is_one, std::int64_t steps) {
  if (!is_one || job.window.rows == 0) {
    return {{}, 0, 1, steps};
  }
  const Window& window = job.window;
  const Cell* at = input_of(job, grid_tile(job, tile.number + 1)) + (window.top + window.rows - 1) * window.row;
  const std::int64_t columns = (job.tile_columns - 1) * job.x_column + window.columns;
  return {{at + window.left, window.channels, window.channel, columns}, 0, 1, steps};
}

// Sums of outputs [first, last) of one tile, and what becomes of them.
class TileSums {
 public:
  TileSums(const GatherJob& job, const GridTile& tile, std::int64_t first, std::int64_t last, float* sums)
      : job_(job), tile_(tile), sums_{job.matrix.tiles, job.matrix.column_blocks, first, last, tile.columns, sums} {}

  void add(const MatrixPart& part, const PartInputs& inputs, Fetching& ahead) const {
    sum_part(
        sums_, part, inputs, [&]() MEZZOTINT_INLINE { ahead.step(); },
        [&](std::int64_t first, std::int64_t last, const float* sums)
            MEZZOTINT_INLINE { find_finish(tile_.columns)(job_, tile_, first, last, sums); });
  }

 private:
  const GatherJob& job_;
  const GridTile& tile_;
  MatrixSums sums_;
};

void sum_columns(const GatherJob& job, const GridTile& tile, const TileSums& sums, Cell* inputs, Fetching& ahead) {
  const std::int64_t pixels = job.matrix.by_pixel ? 1 : tile.columns;
  each_part(job.matrix.column_blocks, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    for (std::int64_t pixel = 0; pixel < tile.columns; pixel += pixels) {
      const MatrixPart part{begin, end, pixel, pixel + pixels};
      join_inputs(job, tile, part, inputs);
      sums.add(part, {{inputs, kInTurn}, kMatrixPart * 2 * kTileRows}, ahead);
    }
  });
}

// The same where the window's rows are joined.
void sum_window(const GatherJob& job, const GridTile& tile, const TileSums& sums, const JoinedRows& rows,
                Fetching& ahead) {
  each_part(job.matrix.column_blocks, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    sums.add({begin, end, 0, tile.columns},
             {{rows.inputs_of(tile), rows.places() + begin}, job.x_column * rows.pixel()}, ahead);
  });
}

void matrix_gather(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
                   std::int64_t last_channel, void* memory) {
  const bool window = job.matrix.window.rows > 0;
  auto* const sums = static_cast<float*>(memory);
  Cell* const inputs = static_cast<Cell*>(memory) + kMatrixSumCells;
  JoinedRows rows(job, inputs + places_cells(job.matrix.column_blocks), reinterpret_cast<std::int32_t*>(inputs));
  const std::int64_t parts = (job.matrix.column_blocks + kMatrixPart - 1) / kMatrixPart;
  const std::int64_t out_blocks = (last_channel - first_channel + kMatrixOuts - 1) / kMatrixOuts;
  begin_products();
  for (std::int64_t number = first_tile; number < last_tile; ++number) {
    const GridTile tile = grid_tile(job, number);
    if (window) {
      rows.reach(tile);
    }
    const std::int64_t steps = (parts > 0 ? parts : 1) * out_blocks * tile.columns;
    const FetchAhead named(job.ahead, number - first_tile, last_tile - first_tile, steps);
    Fetching ahead{named,
                   window ? next_row(job, tile, rows, steps) : next_tile(job, tile, number + 1 < last_tile, steps)};
    each_pass(first_channel, last_channel, [&](std::int64_t first, std::int64_t last) MEZZOTINT_INLINE {
      const TileSums of_tile(job, tile, first, last, sums);
      window ? sum_window(job, tile, of_tile, rows, ahead) : sum_columns(job, tile, of_tile, inputs, ahead);
    });
  }
  end_products();
  if (job.stream) {
    fence();
  }
}

}  // namespace
}  // namespace mezzotint
