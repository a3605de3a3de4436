// What is a register tile? A few rows and columns of output cells of one channel, in FP32.
#pragma once

#include "kernels/cell.hpp"

namespace mezzotint {
namespace {

// Registers left for the tile, besides the broadcast weight and what the compiler needs to breathe.
#ifdef MEZZOTINT_TILE_VECS
template <class T>
constexpr int kTileVecs = MEZZOTINT_TILE_VECS;
#else
template <class T>
constexpr int kTileVecs = MEZZOTINT_REGISTERS == 32 ? 16 : 14;
#endif
template <class T>
constexpr int kTileCells = kTileVecs<T> / kVecsOf<T> > 0 ? kTileVecs<T> / kVecsOf<T> : 1;

// Whether tiles of several rows are worth their code.
template <class T>
constexpr bool kRowsPay = true;
template <>
constexpr bool kRowsPay<Float16> = false;

template <class T, int kRows, int kColumns>
struct Tile {
  Wide<T> sum[kRows][kColumns];
};

// Applies change(cell's sums, cell offset) to every cell at the given strides.
template <class T, int kRows, int kColumns, class Change>
inline MEZZOTINT_INLINE void each_cell(Tile<T, kRows, kColumns>& tile, std::int64_t row, std::int64_t column,
                                       Change change) {
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) {
      change(tile.sum[r][c], r * row + c * column);
    }
  }
}

template <class T, int kRows, int kColumns>
inline MEZZOTINT_INLINE void fill(Tile<T, kRows, kColumns>& tile, float value) {
  each_cell(tile, 0, 0, [&](Wide<T>& sum, std::int64_t) MEZZOTINT_INLINE {
    each_vec(sum, [&](Vec& v) MEZZOTINT_INLINE { v = broadcast(value); });
  });
}

template <bool kStream, class T, int kRows, int kColumns>
inline MEZZOTINT_INLINE void write(Tile<T, kRows, kColumns>& tile, Cell* to, std::int64_t row, std::int64_t column) {
  each_cell(tile, row, column,
            [&](Wide<T>& sum, std::int64_t at) MEZZOTINT_INLINE { CellOf<T>::template store<kStream>(to + at, sum); });
}

}  // namespace
}  // namespace mezzotint
