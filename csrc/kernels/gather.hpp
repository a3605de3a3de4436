// How is a sparse convolution summed? The gather kernel, which does the forward pass and the input gradient.
//
// A tile of output pixels of one channel stays in registers while its nonzeros pass by: each nonzero is one weight,
// broadcast, times the input cells at its offset. An output element is summed in the order of the nonzeros whatever
// the tile, so neither tiles nor threads change a bit of the result.
#pragma once

#include "kernels/cell.hpp"
#include "kernels/epilogue.hpp"
#include "kernels/grid.hpp"
#include "kernels/jobs.hpp"
#include "kernels/tile.hpp"

namespace mezzotint {
namespace {

// Where a tile lies: pointers at its first pixel, channel 0.
struct TilePlace {
  const Cell* x;
  Cell* y;
  const Cell* next_x;          // of the tile that comes next, null if it need not be fetched
  void* kept;                  // sums that wait for their next part
  std::int64_t piece, pieces;  // of what is fetched for others, this tile's share
  EpiloguePlace epilogue;
};

inline MEZZOTINT_INLINE const Cell* input_of(const Cell* origin, const Entry& entry) {
  return reinterpret_cast<const Cell*>(reinterpret_cast<const char*>(origin) + entry.offset);
}

// What one step along the entries adds to a tile: the product of a weight and the input cells at its offset.
template <class T>
struct Product {
  static constexpr int kEntries = 1;
  const Cell* x;
  Vec weight;
  MEZZOTINT_INLINE Product(const Cell* origin, const Entry* entry, const Entry*)
      : x(input_of(origin, *entry)), weight(broadcast(entry->weight)) {}
  inline MEZZOTINT_INLINE void add_to(Wide<T>& sum, std::int64_t at) const {
    each_vec(sum, CellOf<T>::load(x + at), [&](Vec& s, Vec v) MEZZOTINT_INLINE { s += weight * v; });
  }
};

#ifdef __AVX512BF16__
// Dot products take two entries at a time: the words of their cells are joined to pairs, image by image. An entry that
// is left over counts twice, the second time with a weight of zero: a branch would be mispredicted for every second
// row.
template <>
struct Product<BFloat16> {
  static constexpr int kEntries = 2;
  const Cell* first;
  const Cell* second;
  __m512bh weights;
  MEZZOTINT_INLINE Product(const Cell* origin, const Entry* entry, const Entry* end)
      : first(input_of(origin, entry[0])),
        second(input_of(origin, entry[entry + 1 != end])),
        weights((__m512bh)_mm512_set1_ps(entry->weight)) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
    const __m512i a = (__m512i)once(*reinterpret_cast<const Bits*>(first + at));
    const __m512i b = (__m512i)once(*reinterpret_cast<const Bits*>(second + at));
    sum.v[0] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[0], (__m512bh)_mm512_unpacklo_epi16(a, b), weights);
    sum.v[1] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[1], (__m512bh)_mm512_unpackhi_epi16(a, b), weights);
  }
};
#elif defined(MEZZOTINT_NEON_BF16)
// Multiply-adds of the even and of the odd images that widen on the way: no shift, no mask.
template <>
struct Product<BFloat16> {
  static constexpr int kEntries = 1;
  const Cell* x;
  bfloat16x8_t weight;
  MEZZOTINT_INLINE Product(const Cell* origin, const Entry* entry, const Entry*)
      : x(input_of(origin, *entry)),
        weight(vreinterpretq_bf16_u16(vdupq_n_u16(static_cast<std::uint16_t>(bits_of(entry->weight) >> 16)))) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      const bfloat16x8_t pairs = (bfloat16x8_t) reinterpret_cast<const Bits*>(x + at)[i / 2];
      sum.v[i] = (Vec)vbfmlalbq_f32((float32x4_t)sum.v[i], pairs, weight);
      sum.v[i + 1] = (Vec)vbfmlaltq_f32((float32x4_t)sum.v[i + 1], pairs, weight);
    }
  }
};
#endif

// kStep: input cells from one output column to the next; 0 = read it from the job.
template <class T, int kRows, int kColumns, int kStep>
inline MEZZOTINT_INLINE void accumulate(Tile<T, kRows, kColumns>& tile, const GatherJob& job, const Cell* x,
                                        const Entry* entry, const Entry* end) {
  const std::int64_t step = kStep ? kStep : job.x_column;
  for (; entry < end; entry += Product<T>::kEntries) {
    const Product<T> product(x, entry, end);
    each_cell(tile, job.x_row, step, [&](Wide<T>& sum, std::int64_t at) MEZZOTINT_INLINE { product.add_to(sum, at); });
  }
}

// What the next row of nonzeros will read: where a channel has parts, no hardware prefetcher sees it coming.
inline MEZZOTINT_INLINE void fetch_entries(const GatherJob& job, const std::int32_t* segment) {
  constexpr std::int64_t kLine = kCellBytes / sizeof(Entry);
  for (const Entry* at = job.entries + segment[0]; at < job.entries + segment[1]; at += kLine) {
    __builtin_prefetch(at, 0, 3);
  }
}

template <class T, int kRows, int kColumns, int kStep>
void gather_tile(const GatherJob& job, const TilePlace& place, std::int64_t first_channel, std::int64_t last_channel) {
  const bool has_epilogue = needs_epilogue(job.epilogue);
  const std::int64_t steps = (last_channel - first_channel) * job.parts;
  Evenly next(0, job.window.channels, steps);
  Evenly ahead(place.piece * job.ahead.channels / place.pieces, (place.piece + 1) * job.ahead.channels / place.pieces,
               steps);
  auto* const tiles = static_cast<Tile<T, kRows, kColumns>*>(place.kept);
  for (std::int64_t part = 0; part < job.parts; ++part) {
    for (std::int64_t channel = first_channel; channel < last_channel; ++channel) {
      const std::int32_t* segment = job.segments + channel * job.parts + part;
      Cell* y = place.y + channel * job.y_channel;
      if (place.next_x) {
        next.step([&](std::int64_t first, std::int64_t last)
                      MEZZOTINT_INLINE { fetch_ahead(job, place.next_x, kRows, kColumns, first, last); });
      }
      if (job.ahead.at) {
        ahead.step([&](std::int64_t first, std::int64_t last) MEZZOTINT_INLINE { fetch(job.ahead, first, last); });
      }
      if (job.parts > 1 && channel + 1 < last_channel) {
        fetch_entries(job, segment + job.parts);
      }
      if (has_epilogue && part + 1 == job.parts && channel + kChannelsAhead < last_channel) {
        fetch_beside<kRows, kColumns>(job.epilogue, place.epilogue, job.y_column, channel + kChannelsAhead);
      }
      Tile<T, kRows, kColumns> tile;
      Tile<T, kRows, kColumns>* const kept = tiles + (channel - first_channel);
      if (part == 0) {
        fill(tile, job.bias ? job.bias[channel] : 0.0f);
      } else {
        tile = *kept;
      }
      accumulate<T, kRows, kColumns, kStep>(tile, job, place.x, job.entries + segment[0], job.entries + segment[1]);
      if (part + 1 < job.parts) {
        *kept = tile;
        continue;
      }
      if (has_epilogue) {
        finish(tile, job.epilogue, place.epilogue, job.y_column, channel);
      }
      if (job.stream) {
        write<true>(tile, y, job.y_row, job.y_column);
      } else {
        write<false>(tile, y, job.y_row, job.y_column);
      }
    }
  }
}

std::int64_t tile_cells(Dtype dtype) {
  return dtype == Dtype::kBFloat16  ? kTileCells<BFloat16>
         : dtype == Dtype::kFloat16 ? kTileCells<Float16>
                                    : kTileCells<float>;
}

std::int64_t entries_at_once(Dtype dtype) {
  return dtype == Dtype::kBFloat16 ? Product<BFloat16>::kEntries : 1;
}

using TileFunction = void (*)(const GatherJob&, const TilePlace&, std::int64_t, std::int64_t);

template <class T, int kRows, int kColumns = kTileCells<T> / kRows>
TileFunction find_tile(std::int64_t columns, std::int64_t step) {
  if constexpr (kColumns == 0) {
    return nullptr;
  } else if (columns == kColumns) {
    if constexpr (kRows == 1) {
      if (step > 2) {
        return &gather_tile<T, kRows, kColumns, 0>;
      }
    }
    return step == 1 ? &gather_tile<T, kRows, kColumns, 1> : &gather_tile<T, kRows, kColumns, 2>;
  } else {
    return find_tile<T, kRows, kColumns - 1>(columns, step);
  }
}

// Every tile is code of its own, so there are only as many as pay: tiles of several rows for the usual types and steps.
template <class T>
std::int64_t rows_at_once(const GatherJob& job, std::int64_t left) {
  return !kRowsPay<T> || job.x_column > 2 || left < 2 ? 1 : left < 4 ? 2 : 4;
}

template <class T>
TileFunction find_tile(std::int64_t rows, std::int64_t columns, std::int64_t step) {
  if constexpr (kRowsPay<T>) {
    if (rows > 1) {
      return rows == 2 ? find_tile<T, 2>(columns, step) : find_tile<T, 4>(columns, step);
    }
  }
  return find_tile<T, 1>(columns, step);
}

// A tile at the lower edge is cut into tiles of 4, 2 and 1 rows.
template <class T>
void gather_grid_tile(const GatherJob& job, GridTile tile, const Cell* next_x, std::int64_t first_channel,
                      std::int64_t last_channel, void* kept, std::int64_t piece, std::int64_t pieces) {
  const std::int64_t left = job.rows - tile.row;
  const std::int64_t end = tile.row + (left < job.tile_rows ? left : job.tile_rows);
  while (tile.row < end) {
    const std::int64_t rows = rows_at_once<T>(job, end - tile.row);
    Cell* y = job.y + tile.block * job.y_block + tile.row * job.y_row + tile.column * job.y_column;
    const TilePlace place{input_of(job, tile),
                          y,
                          next_x,
                          kept,
                          piece,
                          pieces,
                          epilogue_place(job, tile.number, tile.block, tile.row, tile.column)};
    find_tile<T>(rows, tile.columns, job.x_column)(job, place, first_channel, last_channel);
    next_x = nullptr;
    tile.row += rows;
  }
}

template <class T>
void gather_tiles(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
                  std::int64_t last_channel, void* kept) {
  for (std::int64_t number = first_tile; number < last_tile; ++number) {
    const bool ahead = job.window.rows > 0 && number + 1 < last_tile;
    const Cell* next_x = ahead ? input_of(job, grid_tile(job, number + 1)) : nullptr;
    gather_grid_tile<T>(job, grid_tile(job, number), next_x, first_channel, last_channel, kept, number - first_tile,
                        last_tile - first_tile);
  }
  if (job.stream) {
    fence();
  }
}

void gather(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
            std::int64_t last_channel, void* kept) {
  with_type(job.dtype, [&](auto type) MEZZOTINT_INLINE {
    gather_tiles<decltype(type)>(job, first_tile, last_tile, first_channel, last_channel, kept);
  });
}

}  // namespace
}  // namespace mezzotint
