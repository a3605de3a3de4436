// How is a sparse convolution summed where neighbours are pixels? A tile of cells of one output channel stays in
// registers while its nonzeros pass by, two at a time; each reads the input at its offset, aligned or not.
//
// Dense convolutions take a group of output channels at once, which share what is read, or have them in the lanes
// (plane_lanes.hpp).
//
// Short tiles keep the input of all channels in level 1 of the cache, but leave too few sums at once to hide the
// latency of a multiply-add: they are summed in several sets, taking turns, which are added in the end.
#pragma once

#include "kernels/plane_finish.hpp"
#include "kernels/plane_lanes.hpp"
#include "kernels/plane_products.hpp"
#include "kernels/plane_windows.hpp"

namespace mezzotint {
namespace {

// Vectors of sums that hide the latency of a multiply-add.
constexpr int kBusyVecs = 10;

template <class T>
constexpr int kPlaneCells = kSumVecs / kVecsOf<T>;
template <class T, int kCells>
constexpr int kSets = kCells * kVecsOf<T> >= kBusyVecs                                             ? 1
                      : 4 * kCells * kVecsOf<T> <= kSumVecs && 2 * kCells * kVecsOf<T> < kBusyVecs ? 4
                      : 2 * kCells * kVecsOf<T> <= kSumVecs                                        ? 2
                                                                                                   : 1;

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

std::int64_t plane_tile_cells(Dtype dtype, Summing summing) {
  const bool half = dtype == Dtype::kBFloat16;
  switch (summing) {
    case Summing::kGroups:
      return half ? kSharedCells<BFloat16> : kSharedCells<float>;
    case Summing::kLanes:
      return half ? 0 : kMostLaneCells;
    case Summing::kWindows:
      return kMostWindowCells;
    default:
      return half ? kPlaneCells<BFloat16> : kPlaneCells<float>;
  }
}

// Channels run fastest: all of them read the same input.
template <class T>
void plane_gather_tiles(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                        std::int64_t last) {
  each_tile(job, first_tile, last_tile, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    const std::int64_t count = end - begin;
    (job.summing == Summing::kGroups ? find_group<T>(count) : find_cells<T>(count))(job, begin, first, last);
  });
}

void plane_gather(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                  std::int64_t last) {
  if (job.summing == Summing::kLanes) {
    plane_gather_lanes(job, first_tile, last_tile, first, last);
  } else if (job.summing == Summing::kWindows) {
    plane_gather_windows(job, first_tile, last_tile, first, last);
  } else if (job.y.dtype == Dtype::kBFloat16) {
    plane_gather_tiles<BFloat16>(job, first_tile, last_tile, first, last);
  } else {
    plane_gather_tiles<float>(job, first_tile, last_tile, first, last);
  }
}

}  // namespace
}  // namespace mezzotint
