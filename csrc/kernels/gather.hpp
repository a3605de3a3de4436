// How is a sparse convolution summed? The gather kernel, which does the forward pass and the input gradient.
//
// A tile of output pixels of one channel stays in registers while its nonzeros pass by: each nonzero is one weight,
// broadcast, times the input cells at its offset. An output element is summed in the order of the nonzeros whatever
// the tile, so neither tiles nor threads change a bit of the result.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

// Registers left for the tile, besides the broadcast weight and what the compiler needs to breathe.
constexpr int kTileVecs = MEZZOTINT_REGISTERS == 32 ? (kVecs == 1 ? 16 : 28) : 14;
constexpr int kTileCells = kTileVecs / kVecs;

// Where a tile lies: pointers at its first pixel, channel 0.
struct TilePlace {
  const float* x;
  float* y;
  const float* residual;
};

template <int kRows, int kColumns>
struct Tile {
  Vec sum[kRows][kColumns][kVecs];
};

// Applies change(sum, element index) to every vector, where the index is that of the cell at the given strides.
template <int kRows, int kColumns, class Change>
inline MEZZOTINT_INLINE void each(Tile<kRows, kColumns>& tile, std::int64_t row, std::int64_t column, Change change) {
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        change(tile.sum[r][c][v], (r * row + c * column) * kLanes + v * kVecFloats);
      }
    }
  }
}

template <int kRows, int kColumns>
inline MEZZOTINT_INLINE void fill(Tile<kRows, kColumns>& tile, float value) {
  each(tile, 0, 0, [&](Vec& sum, std::int64_t) { sum = value - Vec{}; });
}

// kStep: input cells from one output column to the next; 0 = read it from the job.
template <int kRows, int kColumns, int kStep>
inline MEZZOTINT_INLINE void accumulate(Tile<kRows, kColumns>& tile, const GatherJob& job, const float* x,
                                        const Entry* entry, const Entry* end) {
  const std::int64_t step = kStep ? kStep : job.x_column;
  for (; entry != end; ++entry) {
    const Vec weight = entry->weight - Vec{};
    const float* from = x + std::int64_t{entry->offset} * kLanes;
    each(tile, job.x_row, step, [&](Vec& sum, std::int64_t at) { sum += weight * load(from + at); });
  }
}

template <int kRows, int kColumns>
inline MEZZOTINT_INLINE void finish(Tile<kRows, kColumns>& tile, const Epilogue& epilogue, const float* residual,
                                    std::int64_t channel) {
  if (epilogue.scale) {
    const float scale = epilogue.scale[channel];
    each(tile, 0, 0, [&](Vec& sum, std::int64_t) { sum *= scale; });
  }
  if (epilogue.shift) {
    const float shift = epilogue.shift[channel];
    each(tile, 0, 0, [&](Vec& sum, std::int64_t) { sum += shift; });
  }
  if (residual) {
    const float* from = residual + channel * epilogue.residual_channel * kLanes;
    each(tile, epilogue.residual_row, 1, [&](Vec& sum, std::int64_t at) { sum += load(from + at); });
  }
  if (epilogue.relu) {
    each(tile, 0, 0, [&](Vec& sum, std::int64_t) { sum = sum < 0.0f ? Vec{} : sum; });  // keeps NaN
  }
}

template <int kRows, int kColumns, int kStep>
void gather_tile(const GatherJob& job, const TilePlace& place, std::int64_t first_channel, std::int64_t last_channel) {
  const bool has_epilogue = job.epilogue.scale || job.epilogue.shift || place.residual || job.epilogue.relu;
  for (std::int64_t part = 0; part < job.parts; ++part) {
    for (std::int64_t channel = first_channel; channel < last_channel; ++channel) {
      const std::int32_t* segment = job.segments + channel * job.parts + part;
      float* y = place.y + channel * job.y_channel * kLanes;
      Tile<kRows, kColumns> tile;
      if (part == 0) {
        fill(tile, job.bias ? job.bias[channel] : 0.0f);
      } else {
        each(tile, job.y_row, job.y_column, [&](Vec& sum, std::int64_t at) { sum = load(y + at); });
      }
      accumulate<kRows, kColumns, kStep>(tile, job, place.x, job.entries + segment[0], job.entries + segment[1]);
      if (has_epilogue && part + 1 == job.parts) {
        finish(tile, job.epilogue, place.residual, channel);
      }
      each(tile, job.y_row, job.y_column, [&](Vec& sum, std::int64_t at) { store(y + at, sum); });
    }
  }
}

using TileFunction = void (*)(const GatherJob&, const TilePlace&, std::int64_t, std::int64_t);

template <int kRows, int kColumns = kTileCells / kRows>
TileFunction find_tile(std::int64_t columns, std::int64_t step) {
  if constexpr (kColumns == 0) {
    return nullptr;
  } else if (columns == kColumns) {
    return step == 1   ? &gather_tile<kRows, kColumns, 1>
           : step == 2 ? &gather_tile<kRows, kColumns, 2>
                       : &gather_tile<kRows, kColumns, 0>;
  } else {
    return find_tile<kRows, kColumns - 1>(columns, step);
  }
}

TileFunction find_tile(std::int64_t rows, std::int64_t columns, std::int64_t step) {
  return rows == 1   ? find_tile<1>(columns, step)
         : rows == 2 ? find_tile<2>(columns, step)
                     : find_tile<4>(columns, step);
}

TilePlace place_of(const GatherJob& job, std::int64_t block, std::int64_t row, std::int64_t column) {
  const Epilogue& end = job.epilogue;
  const std::int64_t residual = block * end.residual_block + row * end.residual_row + column;
  return {job.x + (block * job.x_block + row * job.x_row + column * job.x_column) * kLanes,
          job.y + (block * job.y_block + row * job.y_row + column * job.y_column) * kLanes,
          end.residual ? end.residual + residual * kLanes : nullptr};
}

// One tile of the grid; a tile at the lower edge is cut into tiles of 4, 2 and 1 rows.
void gather_grid_tile(const GatherJob& job, std::int64_t block, std::int64_t row, std::int64_t column,
                      std::int64_t columns, std::int64_t first_channel, std::int64_t last_channel) {
  const std::int64_t left = job.rows - row;
  const std::int64_t end = row + (left < job.tile_rows ? left : job.tile_rows);
  while (row < end) {
    const std::int64_t rows = end - row >= 4 ? 4 : end - row >= 2 ? 2 : 1;
    find_tile(rows, columns, job.x_column)(job, place_of(job, block, row, column), first_channel, last_channel);
    row += rows;
  }
}

// Column tiles are cut evenly: 16 columns in tiles of at most 7 become 6, 5 and 5, not 7, 7 and 2.
void gather(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
            std::int64_t last_channel) {
  const std::int64_t column_tiles = (job.columns + job.tile_columns - 1) / job.tile_columns;
  const std::int64_t row_tiles = (job.rows + job.tile_rows - 1) / job.tile_rows;
  for (std::int64_t tile = first_tile; tile < last_tile; ++tile) {
    const std::int64_t t = tile % column_tiles;
    const std::int64_t row = tile / column_tiles % row_tiles * job.tile_rows;
    const std::int64_t block = tile / column_tiles / row_tiles;
    const std::int64_t column = t * job.columns / column_tiles;
    const std::int64_t columns = (t + 1) * job.columns / column_tiles - column;
    gather_grid_tile(job, block, row, column, columns, first_channel, last_channel);
  }
}

}  // namespace
}  // namespace mezzotint
