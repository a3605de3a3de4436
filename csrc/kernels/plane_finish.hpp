// What follows the sums of a tile of planes? A residual, an activation, zeros where there is no pixel, phases for the
// windows that come next, and the borders.
#pragma once

#include "kernels/curve.hpp"
#include "kernels/halves.hpp"

namespace mezzotint {
namespace {

// Vectors of sums that leave room for what is multiplied.
constexpr int kSumVecs = MEZZOTINT_REGISTERS == 32 ? 24 : 10;

// Calls use(first cell, last cell) for tiles [first_tile, last_tile) of the planes, which are cut evenly.
template <class Use>
inline MEZZOTINT_INLINE void each_tile(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile,
                                       Use use) {
  const std::int64_t cells = plane_cells(job.y), tiles = (cells + job.tile - 1) / job.tile;
  for (std::int64_t t = first_tile; t < last_tile; ++t) {
    use(t * cells / tiles, (t + 1) * cells / tiles);
  }
}

inline MEZZOTINT_INLINE Cell* cell_of(const std::uint8_t* pixels, std::int64_t cell) {
  return reinterpret_cast<Cell*>(const_cast<std::uint8_t*>(pixels)) + cell;
}

// Writes a cell: zero wherever there is no pixel, whatever was summed there.
template <class T>
inline MEZZOTINT_INLINE void put_inside(Cell* to, Wide<T> sum, const InsideView& inside, std::int64_t cell) {
#ifdef __AVX512BF16__
  if constexpr (sizeof(T) == sizeof(BFloat16)) {
    // As CellOf<BFloat16>::store, word by word.
    const __m512i order = _mm512_set_epi16(31, 30, 29, 28, 15, 14, 13, 12, 27, 26, 25, 24, 11, 10, 9, 8, 23, 22, 21, 20,
                                           7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)sum.v[1], (__m512)sum.v[0]);
    _mm512_store_si512(to, _mm512_maskz_permutexvar_epi16(inside.bits[cell], order, halves));
    return;
  }
#endif
  each_vec(sum, CellOf<T>::load(static_cast<const Cell*>(inside.ones) + cell),
           [](Vec& v, Vec m) MEZZOTINT_INLINE { v = m > 0.0f ? v : Vec{}; });
  CellOf<T>::template store<false>(to, sum);
}

// What follows the sums of a tile of a channel.
template <class T, int kCells>
inline MEZZOTINT_INLINE void finish_cells(const PlaneGatherJob& job, std::int64_t channel, std::int64_t first_cell,
                                          Wide<T> (&sums)[kCells]) {
  if (job.residual.data) {
    const std::uint8_t* const residual = pixels_of(job.residual, 0, channel);
#pragma GCC unroll 32
    for (int c = 0; c < kCells; ++c) {
      each_vec(sums[c], CellOf<T>::load(cell_of(residual, first_cell + c)),
               [](Vec& v, Vec r) MEZZOTINT_INLINE { v += r; });
    }
  }
  activate(job.after, [&](const auto& change) MEZZOTINT_INLINE {
#pragma GCC unroll 32
    for (int c = 0; c < kCells; ++c) {
      each_vec(sums[c], change);
    }
  });
  std::uint8_t* const y = job.y.data ? pixels_of(job.y, 0, channel) : nullptr;
  std::uint8_t* const phases = job.phases.data ? pixels_of(job.phases, 0, channel) : nullptr;
#pragma GCC unroll 32
  for (int c = 0; c < kCells; ++c) {
    Cell unkept;
    Cell* const to = y ? cell_of(y, first_cell + c) : &unkept;
    put_inside(to, sums[c], job.inside, first_cell + c);
    if (phases) {
      put_phases<T>(job.routes, first_cell + c, to, phases);
    }
  }
  if (first_cell == 0 && y) {
    clear_borders(job.y, y, channel);
  }
  if (first_cell == 0 && phases && job.routes.beside == 0) {
    clear_unrouted(job.routes, phases, channel + 1 == job.y.channels);
  }
}

}  // namespace
}  // namespace mezzotint
