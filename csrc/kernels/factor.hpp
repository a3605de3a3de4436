// What is a cell as a factor of a product that is summed over the images? Numbers of an element type, or pairs of BF16
// for dot products; and how accumulators become single numbers.
#pragma once

#include "kernels/cell.hpp"
#include "kernels/square.hpp"

namespace mezzotint {
namespace {

// kSums sums grow side by side for each of kColumns columns of a nonzero, so that no addition waits for the one before.
template <class T>
struct Factor {
  static constexpr int kSums = kVecsOf<T> >= 2 ? 2 : 1;
  static constexpr int kColumns = 1;
  Wide<T> wide;
  static inline MEZZOTINT_INLINE Factor load(const Cell* from) { return {CellOf<T>::load(from)}; }
  template <int kCount>
  inline MEZZOTINT_INLINE void add_product(Vec (&sum)[kCount], const Factor& other) const {
#pragma GCC unroll 8
    for (int i = 0; i < kVecsOf<T>; ++i) {
      sum[i % kCount] += wide.v[i] * other.wide.v[i];
    }
  }
};

#ifdef __AVX512BF16__
// A dot product sums the two images of a pair: half of the instructions of an FMA.
template <>
struct Factor<BFloat16> {
  static constexpr int kSums = 1;
  static constexpr int kColumns = 2;
  __m512bh pairs;
  static inline MEZZOTINT_INLINE Factor load(const Cell* from) {
    return {(__m512bh) * reinterpret_cast<const Bits*>(from)};
  }
  inline MEZZOTINT_INLINE void add_product(Vec (&sum)[1], const Factor& other) const {
    sum[0] = (Vec)_mm512_dpbf16_ps((__m512)sum[0], pairs, other.pairs);
  }
};
#elif defined(MEZZOTINT_NEON_BF16)
template <>
struct Factor<BFloat16> {
  static constexpr int kSums = 2;
  static constexpr int kColumns = 1;
  Bits pairs[kVecsOf<BFloat16> / 2];
  static inline MEZZOTINT_INLINE Factor load(const Cell* from) {
    Factor factor;
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16> / 2; ++i) {
      factor.pairs[i] = reinterpret_cast<const Bits*>(from)[i];
    }
    return factor;
  }
  template <int kCount>
  inline MEZZOTINT_INLINE void add_product(Vec (&sum)[kCount], const Factor& other) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16> / 2; ++i) {
      sum[i % kCount] =
          (Vec)vbfdotq_f32((float32x4_t)sum[i % kCount], (bfloat16x8_t)pairs[i], (bfloat16x8_t)other.pairs[i]);
    }
  }
};
#endif

// The sums of four accumulators' elements.
inline MEZZOTINT_INLINE Vec4 totals_of(Square<float, 4> folded) {
  transpose(folded);
  return (folded.row[0] + folded.row[1]) + (folded.row[2] + folded.row[3]);
}

}  // namespace
}  // namespace mezzotint
