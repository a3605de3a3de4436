// How is a sparse convolution summed where neighbours are pixels? A tile of cells of one output channel stays in
// registers while its nonzeros pass by, two at a time; each reads the input at its offset, aligned or not.
//
// Dense convolutions take a group of output channels at once, which share what is read.
//
// Short tiles keep the input of all channels in level 1 of the cache, but leave too few sums at once to hide the
// latency of a multiply-add: they are summed in several sets, taking turns, which are added in the end.
#pragma once

#include "kernels/curve.hpp"
#include "kernels/halves.hpp"
#include "kernels/plane_products.hpp"

namespace mezzotint {
namespace {

// Vectors of sums that leave room for what is multiplied, and that hide the latency of a multiply-add.
constexpr int kSumVecs = MEZZOTINT_REGISTERS == 32 ? 24 : 10;
constexpr int kBusyVecs = 10;

template <class T>
constexpr int kPlaneCells = kSumVecs / kVecsOf<T>;
template <class T, int kCells>
constexpr int kSets = kCells * kVecsOf<T> >= kBusyVecs                                             ? 1
                      : 4 * kCells * kVecsOf<T> <= kSumVecs && 2 * kCells * kVecsOf<T> < kBusyVecs ? 4
                      : 2 * kCells * kVecsOf<T> <= kSumVecs                                        ? 2
                                                                                                   : 1;

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
  if (first_cell == 0 && phases) {
    clear_unrouted(job.routes, phases, channel + 1 == job.y.channels);
  }
}

template <class T, int kCells>
inline MEZZOTINT_INLINE void fill(Wide<T> (&sums)[kCells], float value) {
#pragma GCC unroll 32
  for (int c = 0; c < kCells; ++c) {
    each_vec(sums[c], [&](Vec& v) MEZZOTINT_INLINE { v = broadcast(value); });
  }
}

template <class T, int kCells>
void gather_cells(const PlaneGatherJob& job, std::int64_t first_cell, std::int64_t first, std::int64_t last) {
  using Product = PairProduct<T>;
  using Sums = Wide<T>[kCells];
  constexpr int kTurns = kSets<T, kCells>;
  const std::uint8_t* const x = pixels_of(job.x, 0, 0) + first_cell * kCellBytes;
  const auto* const entries = static_cast<const typename Product::Entry*>(job.entries);
  auto* const kept = reinterpret_cast<Sums*>(job.kept);
  for (std::int64_t part = 0; part < job.parts; ++part) {
    for (std::int64_t channel = first; channel < last; ++channel) {
      Wide<T> sums[kTurns][kCells] = {};
      if (part == 0) {
        fill(sums[0], job.bias[channel]);
      } else {
#pragma GCC unroll 32
        for (int c = 0; c < kCells; ++c) {
          sums[0][c] = kept[channel - first][c];
        }
      }
      const auto add = [&](int turn, const Product& product) MEZZOTINT_INLINE {
#pragma GCC unroll 32
        for (int c = 0; c < kCells; ++c) {
          product.add_to(sums[turn][c], c * kCellBytes);
        }
      };
      const auto* entry = entries + job.segments[part * job.units + channel];
      const auto* const end = entries + job.segments[part * job.units + channel + 1];
      for (; end - entry >= kTurns; entry += kTurns) {
#pragma GCC unroll 4
        for (int turn = 0; turn < kTurns; ++turn) {
          add(turn, Product(x, entry[turn]));
        }
      }
      for (; kTurns > 1 && entry != end; ++entry) {
        add(0, Product(x, *entry));
      }
#pragma GCC unroll 4
      for (int turn = 1; turn < kTurns; ++turn) {
#pragma GCC unroll 32
        for (int c = 0; c < kCells; ++c) {
          each_vec(sums[0][c], sums[turn][c], [](Vec& v, Vec other) MEZZOTINT_INLINE { v += other; });
        }
      }
      if (part + 1 == job.parts) {
        finish_cells<T, kCells>(job, channel, first_cell, sums[0]);
      } else {
#pragma GCC unroll 32
        for (int c = 0; c < kCells; ++c) {
          kept[channel - first][c] = sums[0][c];
        }
      }
    }
  }
}

// Output channels that share what is read, and their cells.
template <class T>
constexpr int kShared = kSumVecs / kVecsOf<T> >= kGroup ? kGroup
                        : kSumVecs / kVecsOf<T> >= 2    ? 2
                                                        : 1;
template <class T>
constexpr int kSharedCells = kSumVecs / kVecsOf<T> / kShared<T>;

template <class T, int kCells>
void gather_group(const PlaneGatherJob& job, std::int64_t first_cell, std::int64_t first, std::int64_t last) {
  using Product = GroupProduct<T>;
  const std::uint8_t* const x = pixels_of(job.x, 0, 0) + first_cell * kCellBytes;
  const auto* const entries = static_cast<const typename Product::Entry*>(job.entries);
  for (std::int64_t channel = first * kGroup; channel < last * kGroup; channel += kShared<T>) {
    const std::int64_t group = channel / kGroup, within = channel % kGroup;
    Wide<T> sums[kShared<T>][kCells];
#pragma GCC unroll 4
    for (int o = 0; o < kShared<T>; ++o) {
      fill(sums[o], job.bias[channel + o]);
    }
    const auto* const end = entries + job.segments[group + 1];
    for (const auto* entry = entries + job.segments[group]; entry != end; ++entry) {
      const Product product(x, *entry);
#pragma GCC unroll 2
      for (int turn = 0; turn < Product::kTurns; ++turn) {
#pragma GCC unroll 32
        for (int c = 0; c < kCells; ++c) {
          const auto read = product.read(turn, c * kCellBytes);
#pragma GCC unroll 4
          for (int o = 0; o < kShared<T>; ++o) {
            product.add_to(sums[o][c], read, turn, within + o);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int o = 0; o < kShared<T>; ++o) {
      if (channel + o < job.y.channels) {
        finish_cells<T, kCells>(job, channel + o, first_cell, sums[o]);
      }
    }
  }
}

using PlaneFunction = void (*)(const PlaneGatherJob&, std::int64_t, std::int64_t, std::int64_t);

template <class T, int kCells = kPlaneCells<T>>
PlaneFunction find_cells(std::int64_t cells) {
  if constexpr (kCells == 0) {
    return nullptr;
  } else {
    return cells == kCells ? &gather_cells<T, kCells> : find_cells<T, kCells - 1>(cells);
  }
}

template <class T, int kCells = kSharedCells<T>>
PlaneFunction find_group(std::int64_t cells) {
  if constexpr (kCells == 0) {
    return nullptr;
  } else {
    return cells == kCells ? &gather_group<T, kCells> : find_group<T, kCells - 1>(cells);
  }
}

std::int64_t plane_tile_cells(Dtype dtype, bool grouped) {
  if (dtype == Dtype::kBFloat16) {
    return grouped ? kSharedCells<BFloat16> : kPlaneCells<BFloat16>;
  }
  return grouped ? kSharedCells<float> : kPlaneCells<float>;
}

// Tiles are cut evenly, as in gather.hpp. Channels run fastest: all of them read the same input.
template <class T>
void plane_gather_tiles(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                        std::int64_t last) {
  const std::int64_t cells = plane_cells(job.y);
  const std::int64_t tiles = (cells + job.tile - 1) / job.tile;
  for (std::int64_t t = first_tile; t < last_tile; ++t) {
    const std::int64_t begin = t * cells / tiles, count = (t + 1) * cells / tiles - begin;
    (job.grouped ? find_group<T>(count) : find_cells<T>(count))(job, begin, first, last);
  }
}

void plane_gather(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                  std::int64_t last) {
  if (job.y.dtype == Dtype::kBFloat16) {
    plane_gather_tiles<BFloat16>(job, first_tile, last_tile, first, last);
  } else {
    plane_gather_tiles<float>(job, first_tile, last_tile, first, last);
  }
}

}  // namespace
}  // namespace mezzotint
