// How is a sparse convolution summed where neighbours are pixels? A tile of cells of one output channel stays in
// registers while its nonzeros pass by, two at a time; each reads the input at its offset, aligned or not.
//
// Short tiles keep the input of all channels in level 1 of the cache, but leave too few sums at once to hide the latency
// of a multiply-add: they are summed in several sets, taking turns, which are added in the end.
#pragma once

#include "kernels/cell.hpp"
#include "kernels/plane_jobs.hpp"

namespace mezzotint {
namespace {

typedef std::uint32_t LooseBits __attribute__((vector_size(sizeof(Bits)), aligned(2), may_alias));
typedef float LooseVec __attribute__((vector_size(sizeof(Vec)), aligned(4), may_alias));

// What one step along the entries adds to a tile.
template <class T>
struct PairProduct;

template <>
struct PairProduct<float> {
  using Entry = PairEntry;
  const std::uint8_t *first, *second;
  Vec first_weight, second_weight;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        first_weight(broadcast(entry.first_weight)),
        second_weight(broadcast(entry.second_weight)) {}
  inline MEZZOTINT_INLINE void add_to(Wide<float>& sum, std::int64_t at) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<float>; ++i) {
      sum.v[i] += first_weight * reinterpret_cast<const LooseVec*>(first + at)[i];
      sum.v[i] += second_weight * reinterpret_cast<const LooseVec*>(second + at)[i];
    }
  }
};

#ifdef __AVX512BF16__
template <>
struct PairProduct<BFloat16> {
  using Entry = HalfPairEntry;
  const std::uint8_t *first, *second;
  __m512bh weights;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        weights((__m512bh)_mm512_set1_epi32(static_cast<int>(entry.weights))) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
    const __m512i a = (__m512i)once((Bits)_mm512_loadu_si512(first + at));
    const __m512i b = (__m512i)once((Bits)_mm512_loadu_si512(second + at));
    sum.v[0] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[0], (__m512bh)_mm512_unpacklo_epi16(a, b), weights);
    sum.v[1] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[1], (__m512bh)_mm512_unpackhi_epi16(a, b), weights);
  }
};
#elif defined(MEZZOTINT_NEON_BF16)
template <>
struct PairProduct<BFloat16> {
  using Entry = HalfPairEntry;
  const std::uint8_t *first, *second;
  bfloat16x8_t first_weight, second_weight;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        first_weight(vreinterpretq_bf16_u16(vdupq_n_u16(static_cast<std::uint16_t>(entry.weights)))),
        second_weight(vreinterpretq_bf16_u16(vdupq_n_u16(static_cast<std::uint16_t>(entry.weights >> 16)))) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      const bfloat16x8_t a = (bfloat16x8_t) reinterpret_cast<const LooseBits*>(first + at)[i / 2];
      const bfloat16x8_t b = (bfloat16x8_t) reinterpret_cast<const LooseBits*>(second + at)[i / 2];
      sum.v[i] = (Vec)vbfmlalbq_f32((float32x4_t)sum.v[i], a, first_weight);
      sum.v[i + 1] = (Vec)vbfmlaltq_f32((float32x4_t)sum.v[i + 1], a, first_weight);
      sum.v[i] = (Vec)vbfmlalbq_f32((float32x4_t)sum.v[i], b, second_weight);
      sum.v[i + 1] = (Vec)vbfmlaltq_f32((float32x4_t)sum.v[i + 1], b, second_weight);
    }
  }
};
#else
template <>
struct PairProduct<BFloat16> {
  using Entry = HalfPairEntry;
  const std::uint8_t *first, *second;
  Vec first_weight, second_weight;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        first_weight(broadcast(float_of(entry.weights << 16))),
        second_weight(broadcast(float_of(entry.weights & 0xffff0000u))) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      const Bits a = once((Bits) reinterpret_cast<const LooseBits*>(first + at)[i / 2]);
      sum.v[i] += first_weight * reinterpret_cast<Vec>(a << 16);
      sum.v[i + 1] += first_weight * reinterpret_cast<Vec>(a & 0xffff0000u);
      const Bits b = once((Bits) reinterpret_cast<const LooseBits*>(second + at)[i / 2]);
      sum.v[i] += second_weight * reinterpret_cast<Vec>(b << 16);
      sum.v[i + 1] += second_weight * reinterpret_cast<Vec>(b & 0xffff0000u);
    }
  }
};
#endif

// Vectors of sums that leave room for what is multiplied, and that hide the latency of a multiply-add.
constexpr int kSumVecs = MEZZOTINT_REGISTERS == 32 ? 24 : 10;
constexpr int kBusyVecs = 10;

template <class T>
constexpr int kPlaneCells = kSumVecs / kVecsOf<T>;
template <class T, int kCells>
constexpr int kSets = kCells * kVecsOf<T> >= kBusyVecs ? 1
                      : 4 * kCells * kVecsOf<T> <= kSumVecs && 2 * kCells * kVecsOf<T> < kBusyVecs ? 4
                      : 2 * kCells * kVecsOf<T> <= kSumVecs                                         ? 2
                                                                                                    : 1;



inline MEZZOTINT_INLINE Cell* cell_of(const std::uint8_t* pixels, std::int64_t cell) {
  return reinterpret_cast<Cell*>(const_cast<std::uint8_t*>(pixels)) + cell;
}

// Zero wherever there is no pixel, whatever was summed there.
template <class T>
inline MEZZOTINT_INLINE void keep_inside(Wide<T>& sum, const void* inside, std::int64_t cell) {
  each_vec(sum, CellOf<T>::load(static_cast<const Cell*>(inside) + cell),
           [](Vec& v, Vec m) MEZZOTINT_INLINE { v = m > 0.0f ? v : Vec{}; });
}

void clear(std::uint8_t* from, std::int64_t cells) {
  for (std::int64_t i = 0; i < cells * (kCellBytes / static_cast<std::int64_t>(sizeof(Bits))); ++i) {
    reinterpret_cast<Bits*>(from)[i] = Bits{};
  }
}

// The zeros before the first row of a channel, and those behind the last channel.
void clear_borders(const Planes& y, std::uint8_t* pixels, std::int64_t channel) {
  const std::int64_t size = size_of(y.dtype);
  const std::int64_t lead = y.lead * size / kCellBytes;
  clear(pixels - lead * kCellBytes, lead);
  const std::int64_t body = plane_cells(y) * kCellBytes;
  const std::int64_t spare = (y.stride - y.lead) * size - body;  // that keeps planes from sharing cache sets
  clear(pixels + body, spare / kCellBytes + (channel + 1 == y.channels ? lead : 0));
}

template <class T, int kCells>
void gather_cells(const PlaneGatherJob& job, std::int64_t first_cell, std::int64_t first_channel,
                  std::int64_t last_channel) {
  using Product = PairProduct<T>;
  constexpr int kTurns = kSets<T, kCells>;
  const std::uint8_t* const x = pixels_of(job.x, 0, 0) + first_cell * kCellBytes;
  const auto* const entries = static_cast<const typename Product::Entry*>(job.entries);
  const Vec low = broadcast(job.low), high = broadcast(job.high);
  for (std::int64_t channel = first_channel; channel < last_channel; ++channel) {
    Wide<T> sums[kTurns][kCells] = {};
    const auto add = [&](int turn, const Product& product) MEZZOTINT_INLINE {
#pragma GCC unroll 32
      for (int c = 0; c < kCells; ++c) {
        product.add_to(sums[turn][c], c * kCellBytes);
      }
    };
    const auto* entry = entries + job.segments[channel];
    const auto* const end = entries + job.segments[channel + 1];
    for (; end - entry >= kTurns; entry += kTurns) {
#pragma GCC unroll 4
      for (int turn = 0; turn < kTurns; ++turn) {
        add(turn, Product(x, entry[turn]));
      }
    }
    for (; kTurns > 1 && entry != end; ++entry) {
      add(0, Product(x, *entry));
    }
    std::uint8_t* const y = pixels_of(job.y, 0, channel);
    const Vec bias = broadcast(job.bias[channel]);
#pragma GCC unroll 32
    for (int c = 0; c < kCells; ++c) {
      Wide<T>& sum = sums[0][c];
#pragma GCC unroll 4
      for (int turn = 1; turn < kTurns; ++turn) {
        each_vec(sum, sums[turn][c], [](Vec& v, Vec other) MEZZOTINT_INLINE { v += other; });
      }
      if (job.residual.data) {
        each_vec(sum, CellOf<T>::load(cell_of(pixels_of(job.residual, 0, channel), first_cell + c)),
                 [](Vec& v, Vec r) MEZZOTINT_INLINE { v += r; });
      }
      each_vec(sum, [&](Vec& v) MEZZOTINT_INLINE {
        v += bias;
        v = v < low ? low : v;  // keeps NaN
        v = v > high ? high : v;
      });
      keep_inside(sum, job.inside, first_cell + c);
      CellOf<T>::template store<false>(cell_of(y, first_cell + c), sum);
    }
    if (first_cell == 0) {
      clear_borders(job.y, y, channel);
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

std::int64_t plane_tile_cells(Dtype dtype) {
  return dtype == Dtype::kBFloat16 ? kPlaneCells<BFloat16> : kPlaneCells<float>;
}

// Tiles are cut evenly, as in gather.hpp. Channels run fastest: all of them read the same input.
template <class T>
void plane_gather_tiles(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile,
                        std::int64_t first_channel, std::int64_t last_channel) {
  const std::int64_t cells = plane_cells(job.y);
  const std::int64_t tiles = (cells + job.tile - 1) / job.tile;
  for (std::int64_t t = first_tile; t < last_tile; ++t) {
    const std::int64_t first = t * cells / tiles;
    find_cells<T>((t + 1) * cells / tiles - first)(job, first, first_channel, last_channel);
  }
}

void plane_gather(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile,
                  std::int64_t first_channel, std::int64_t last_channel) {
  if (job.y.dtype == Dtype::kBFloat16) {
    plane_gather_tiles<BFloat16>(job, first_tile, last_tile, first_channel, last_channel);
  } else {
    plane_gather_tiles<float>(job, first_tile, last_tile, first_channel, last_channel);
  }
}

}  // namespace
}  // namespace mezzotint
