// How is the output of a gather cut into tiles, and what is fetched ahead of them?
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

// A tile of the grid: its number, its first position and its columns. Column tiles are cut evenly: 16 columns in tiles
// of at most 7 become 6, 5 and 5, not 7, 7 and 2.
struct GridTile {
  std::int64_t number, block, row, column, columns;
};

struct Grid {
  std::int64_t rows, columns, tile_rows, tile_columns;
};

GridTile grid_tile(const Grid& grid, std::int64_t number) {
  const std::int64_t column_tiles = (grid.columns + grid.tile_columns - 1) / grid.tile_columns;
  const std::int64_t row_tiles = (grid.rows + grid.tile_rows - 1) / grid.tile_rows;
  const std::int64_t t = number % column_tiles;
  const std::int64_t column = t * grid.columns / column_tiles;
  return {number, number / column_tiles / row_tiles, number / column_tiles % row_tiles * grid.tile_rows, column,
          (t + 1) * grid.columns / column_tiles - column};
}

inline GridTile grid_tile(const GatherJob& job, std::int64_t number) {
  return grid_tile({job.rows, job.columns, job.tile_rows, job.tile_columns}, number);
}

const Cell* input_of(const GatherJob& job, const GridTile& tile) {
  return job.x + tile.block * job.x_block + tile.row * job.x_row + tile.column * job.x_column;
}

// Asks for the input cells of the next tile, channels [first, last): gathers jump between channels, which no hardware
// prefetcher foresees. Only the rows that the row of tiles above did not read.
inline MEZZOTINT_INLINE void fetch_ahead(const GatherJob& job, const Cell* next_x, std::int64_t tile_rows,
                                         std::int64_t tile_columns, std::int64_t first, std::int64_t last) {
  const Window& window = job.window;
  const std::int64_t rows = (tile_rows - 1) * window.row_step + window.rows;
  const std::int64_t fresh = tile_rows * window.row_step < rows ? tile_rows * window.row_step : rows;
  const std::int64_t columns = (tile_columns - 1) * job.x_column + window.columns;
  const Cell* begin = next_x + (window.top + rows - fresh) * window.row + window.left;
  for (std::int64_t c = first; c < last; ++c) {
    for (std::int64_t r = 0; r < fresh; ++r) {
      const Cell* at = begin + c * window.channel + r * window.row;
      for (std::int64_t w = 0; w < columns; ++w) {
        __builtin_prefetch(at + w, 0, 2);
      }
    }
  }
}

// Channels [first, last) of what is read next.
inline MEZZOTINT_INLINE void fetch(const Ahead& ahead, std::int64_t first, std::int64_t last) {
  for (std::int64_t c = first; c < last; ++c) {
    for (std::int64_t i = 0; i < ahead.columns; ++i) {
      __builtin_prefetch(ahead.at + c * ahead.channel + i, 0, 2);
    }
  }
}

// Hands out a range evenly over a number of steps, without a division at each.
class Evenly {
 public:
  Evenly(std::int64_t first, std::int64_t last, std::int64_t steps) : at_(first), items_(last - first), steps_(steps) {}
  // Calls use(first, last) with the share of one step.
  template <class Use>
  inline MEZZOTINT_INLINE void step(Use use) {
    const std::int64_t first = at_;
    for (due_ += items_; due_ >= steps_; due_ -= steps_) {
      ++at_;
    }
    use(first, at_);
  }

 private:
  std::int64_t at_, items_, steps_, due_ = 0;
};

// How many channels ahead what lies beside a tile is asked for: a memory's latency, counted in short sums.
constexpr std::int64_t kChannelsAhead = 4;

}  // namespace
}  // namespace mezzotint
