// How is a depthwise window of three rows and columns summed where neighbours are pixels? Each vector of a row is read
// once and serves all three columns: what lies one pixel to the left or right comes from its neighbour in registers.
// Nine taps read apart are nine vectors, most of which lie across two lines of the cache.
#pragma once

#include "kernels/plane_finish.hpp"
#include "kernels/plane_products.hpp"

namespace mezzotint {
namespace {

// Elements (of 32 bits) kFrom and following of two vectors side by side.
template <int kFrom, class V>
inline MEZZOTINT_INLINE V across(V one, V other) {
  constexpr int k = kFrom;
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  return (V)_mm512_alignr_epi32((__m512i)other, (__m512i)one, k);
#elif MEZZOTINT_VECTOR_FLOATS == 16
  return __builtin_shufflevector(one, other, k, k + 1, k + 2, k + 3, k + 4, k + 5, k + 6, k + 7, k + 8, k + 9, k + 10,
                                 k + 11, k + 12, k + 13, k + 14, k + 15);
#elif MEZZOTINT_VECTOR_FLOATS == 8
  return __builtin_shufflevector(one, other, k, k + 1, k + 2, k + 3, k + 4, k + 5, k + 6, k + 7);
#else
  return __builtin_shufflevector(one, other, k, k + 1, k + 2, k + 3);
#endif
}
template <class V>
inline MEZZOTINT_INLINE V one_back(V before, V here) {
  return across<MEZZOTINT_VECTOR_FLOATS - 1>(before, here);
}
template <class V>
inline MEZZOTINT_INLINE V one_on(V here, V behind) {
  return across<1>(here, behind);
}

// One row of a window: its weights, and what three vectors of the input add to vector `i` of a cell's sums.
template <class T>
struct WindowRow;

template <>
struct WindowRow<float> {
  using Read = Vec;
  using Entry = WindowEntry;
  static constexpr int kReads = kVecsOf<float>;  // of a cell
  Vec left, middle, right;
  MEZZOTINT_INLINE WindowRow(const Entry& entry, int row)
      : left(broadcast(entry.weights[row][0])),
        middle(broadcast(entry.weights[row][1])),
        right(broadcast(entry.weights[row][2])) {}
  static inline MEZZOTINT_INLINE Read read(const std::uint8_t* from, std::int64_t i) {
    return reinterpret_cast<const LooseVec*>(from)[i];
  }
  inline MEZZOTINT_INLINE void add(Wide<float>& sum, int i, Read before, Read here, Read behind) const {
    sum.v[i] += left * one_back(before, here);
    sum.v[i] += middle * here;
    sum.v[i] += right * one_on(here, behind);
  }
  static inline MEZZOTINT_INLINE Wide<float> in_order(const Wide<float>& sum) { return sum; }
};

#ifdef __AVX512BF16__
// Two pixels, side by side as they lie, for a dot product: sums of even and of odd pixels.
template <>
struct WindowRow<BFloat16> {
  using Read = Bits;
  using Entry = HalfWindowEntry;
  static constexpr int kReads = 1;
  __m512bh last, first_two, last_two, first;
  MEZZOTINT_INLINE WindowRow(const Entry& entry, int row) {
    const std::uint32_t a = entry.weights[row][0].bits, b = entry.weights[row][1].bits, c = entry.weights[row][2].bits;
    last = pair(0, a);
    last_two = pair(b, c);
    first_two = pair(a, b);
    first = pair(c, 0);
  }
  static inline MEZZOTINT_INLINE Read read(const std::uint8_t* from, std::int64_t i) {
    return reinterpret_cast<const LooseBits*>(from)[i];
  }
  inline MEZZOTINT_INLINE void add(Wide<BFloat16>& sum, int /*i*/, Read before, Read here, Read behind) const {
    const __m512bh back = (__m512bh)one_back(before, here), at = (__m512bh)here, on = (__m512bh)one_on(here, behind);
    sum.v[0] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[0], back, last);
    sum.v[1] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[1], at, first_two);
    sum.v[0] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[0], at, last_two);
    sum.v[1] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[1], on, first);
  }
  // As CellOf<BFloat16> takes a cell apart.
  static inline MEZZOTINT_INLINE Wide<BFloat16> in_order(const Wide<BFloat16>& sum) {
    return {{(Vec)_mm512_unpacklo_ps((__m512)sum.v[0], (__m512)sum.v[1]),
             (Vec)_mm512_unpackhi_ps((__m512)sum.v[0], (__m512)sum.v[1])}};
  }

 private:
  static inline MEZZOTINT_INLINE __m512bh pair(std::uint32_t low, std::uint32_t high) {
    return (__m512bh)_mm512_set1_epi32(static_cast<int>(low | high << 16));
  }
};
#else
template <>
struct WindowRow<BFloat16> {
  using Read = Bits;
  using Entry = HalfWindowEntry;
  static constexpr int kReads = kVecsOf<BFloat16> / 2;
  Vec left, middle, right;
  MEZZOTINT_INLINE WindowRow(const Entry& entry, int row)
      : left(broadcast(widen(entry.weights[row][0]))),
        middle(broadcast(widen(entry.weights[row][1]))),
        right(broadcast(widen(entry.weights[row][2]))) {}
  static inline MEZZOTINT_INLINE Read read(const std::uint8_t* from, std::int64_t i) {
    return once((Bits) reinterpret_cast<const LooseBits*>(from)[i]);
  }
  inline MEZZOTINT_INLINE void add(Wide<BFloat16>& sum, int i, Read before, Read here, Read behind) const {
    const Vec even = reinterpret_cast<Vec>(here << 16), odd = reinterpret_cast<Vec>(here & 0xffff0000u);
    sum.v[2 * i] += left * reinterpret_cast<Vec>(one_back(before, here) & 0xffff0000u) + middle * even + right * odd;
    sum.v[2 * i + 1] += left * even + middle * odd + right * reinterpret_cast<Vec>(one_on(here, behind) << 16);
  }
  static inline MEZZOTINT_INLINE Wide<BFloat16> in_order(const Wide<BFloat16>& sum) { return sum; }
};
#endif

// The rows of a window on their way along a channel: what was read last, and where it goes on.
template <class T>
struct WindowRows {
  using Row = WindowRow<T>;
  Row rows[3];
  const std::uint8_t* from[3];
  typename Row::Read before[3], here[3];

  MEZZOTINT_INLINE WindowRows(const std::uint8_t* x, const typename Row::Entry& entry)
      : rows{Row(entry, 0), Row(entry, 1), Row(entry, 2)} {
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      from[r] = x + entry.offsets[r];
      before[r] = Row::read(from[r], -1);
      here[r] = Row::read(from[r], 0);
    }
  }
  template <int kCells>
  inline MEZZOTINT_INLINE void add(Wide<T> (&sums)[kCells]) {
#pragma GCC unroll 32
    for (int c = 0; c < kCells; ++c) {
#pragma GCC unroll 4
      for (int i = 0; i < Row::kReads; ++i) {
#pragma GCC unroll 3
        for (int r = 0; r < 3; ++r) {
          const auto behind = Row::read(from[r], c * Row::kReads + i + 1);
          rows[r].add(sums[c], i, before[r], here[r], behind);
          before[r] = here[r];
          here[r] = behind;
        }
      }
      sums[c] = Row::in_order(sums[c]);
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      from[r] += kCells * kCellBytes;
    }
  }
};

// Cells of a channel, kCells at a time, and the rest together.
template <class T, int kCells>
inline MEZZOTINT_INLINE void window_cells(const PlaneGatherJob& job, std::int64_t channel, std::int64_t cell,
                                          std::int64_t last, WindowRows<T>& rows) {
  for (; last - cell >= kCells; cell += kCells) {
    Wide<T> sums[kCells];
#pragma GCC unroll 32
    for (int c = 0; c < kCells; ++c) {
      each_vec(sums[c], [&](Vec& v) MEZZOTINT_INLINE { v = broadcast(job.bias[channel]); });
    }
    rows.add(sums);
    finish_cells<T, kCells>(job, channel, cell, sums);
  }
  if constexpr (kCells > 1) {
    window_cells<T, kCells - 1>(job, channel, cell, last, rows);
  }
}

// Cells that are finished together, beside weights and what was read.
template <class T>
constexpr int kWindowCells = MEZZOTINT_REGISTERS == 32 ? 8 / kVecsOf<T> : 1;

template <class T>
void window_tiles(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                  std::int64_t last) {
  each_tile(job, first_tile, last_tile, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    for (std::int64_t channel = first; channel < last; ++channel) {
      WindowRows<T> rows(pixels_of(job.x, 0, 0) + begin * kCellBytes,
                         static_cast<const typename WindowRow<T>::Entry*>(job.entries)[channel]);
      window_cells<T, kWindowCells<T>>(job, channel, begin, end, rows);
    }
  });
}

void plane_gather_windows(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile,
                          std::int64_t first, std::int64_t last) {
  if (job.y.dtype == Dtype::kBFloat16) {
    window_tiles<BFloat16>(job, first_tile, last_tile, first, last);
  } else {
    window_tiles<float>(job, first_tile, last_tile, first, last);
  }
}

}  // namespace
}  // namespace mezzotint
