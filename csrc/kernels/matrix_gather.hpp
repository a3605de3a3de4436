// How is a sparse convolution summed where its weights pay as a whole matrix? The gather of gather.hpp on a matrix unit.
//
// Inputs are joined to pairs of columns (matrix_join.hpp), and every output channel's weights, zeros included, pass over
// those of a few pixels, part by part: either the weights of 32 channels lie in level 1 meanwhile and the inputs in
// level 2, or the inputs of one pixel lie in level 1. A unit that multiplies sixteen times as fast as the vectors makes
// up for zeros at densities above some six percent. An output is summed in the order of the columns whatever the tile.
#pragma once

#include "kernels/matrix_finish.hpp"
#include "kernels/matrix_join.hpp"

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

// The right tiles of a part's steps, for some pixels of a tile.
struct PartInputs {
  Right first;
  std::int64_t pixel;  // cells from one pixel to the next
};

// The sums of output channels [first, last) over a part of the columns, and what follows the last part.
inline void sum_part(const GatherJob& job, const GridTile& tile, const MatrixPart& part, const PartInputs& inputs,
                     std::int64_t first, std::int64_t last, float* sums, Fetching& ahead) {
  const std::int64_t blocks = job.matrix.column_blocks;
  const bool finishes = part.end == blocks && part.last_pixel == tile.columns;
  const bool waits = part.end - part.begin < blocks || part.last_pixel - part.first_pixel < tile.columns;
  for (std::int64_t channel = first; channel < last; channel += kMatrixOuts) {
    const Cell* weights = job.matrix.tiles + (channel / kMatrixOuts * blocks + part.begin) * 2 * kTileRows;
    Right right = inputs.first;
    for (std::int64_t pixel = part.first_pixel; pixel < part.last_pixel; ++pixel, right.at += inputs.pixel) {
      add_products(sums + pixel * kSumsTogether, part.begin == 0, {weights, 1, 2 * kTileRows}, right,
                   part.end - part.begin);
      ahead.step();
    }
    if (finishes) {
      find_finish(tile.columns)(job, tile, channel, last < channel + kMatrixOuts ? last : channel + kMatrixOuts, sums);
    }
    sums += waits ? kMatrixPixels * kSumsTogether : 0;  // sums that need not wait stay in level 1
  }
}

// Calls use(begin, end) for parts of the columns, once if there are none.
template <class Use>
inline MEZZOTINT_INLINE void each_part(std::int64_t blocks, Use use) {
  const std::int64_t parts = blocks > 0 ? (blocks + kMatrixPart - 1) / kMatrixPart : 1;
  for (std::int64_t part = 0; part < parts; ++part) {
    use(blocks * part / parts, blocks * (part + 1) / parts);
  }
}

// Output channels [first, last), at most kMatrixOuts * kMatrixOutBlocks of them, of one tile.
void sum_columns(const GatherJob& job, const GridTile& tile, std::int64_t first, std::int64_t last, Cell* inputs,
                 float* sums, Fetching& ahead) {
  const std::int64_t pixels = job.matrix.by_pixel ? 1 : tile.columns;
  each_part(job.matrix.column_blocks, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    for (std::int64_t pixel = 0; pixel < tile.columns; pixel += pixels) {
      const MatrixPart part{begin, end, pixel, pixel + pixels};
      join_inputs(job, tile, part, inputs);
      sum_part(job, tile, part, {{inputs, kInTurn}, kMatrixPart * 2 * kTileRows}, first, last, sums, ahead);
    }
  });
}

// The same where the window's rows are joined.
void sum_window(const GatherJob& job, const GridTile& tile, std::int64_t first, std::int64_t last,
                const JoinedRows& rows, float* sums, Fetching& ahead) {
  each_part(job.matrix.column_blocks, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    const PartInputs inputs{{rows.inputs_of(tile), rows.places() + begin}, job.x_column * rows.pixel()};
    sum_part(job, tile, {begin, end, 0, tile.columns}, inputs, first, last, sums, ahead);
  });
}

void matrix_gather(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
                   std::int64_t last_channel, void* memory) {
  constexpr std::int64_t kTogether = kMatrixOuts * kMatrixOutBlocks;
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
    Fetching ahead{named, window ? next_row(job, tile, rows, steps) : next_tile(job, tile, number + 1 < last_tile, steps)};
    for (std::int64_t first = first_channel; first < last_channel; first += kTogether) {
      const std::int64_t last = last_channel < first + kTogether ? last_channel : first + kTogether;
      if (window) {
        sum_window(job, tile, first, last, rows, sums, ahead);
      } else {
        sum_columns(job, tile, first, last, inputs, sums, ahead);
      }
    }
  }
  end_products();
  if (job.stream) {
    fence();
  }
}

}  // namespace
}  // namespace mezzotint
