// How do the numbers of a cell become FP32 vectors, and back? One description for each element type.
//
// A cell of FP32 is kVecs vectors of neighbouring images. A cell of BF16 is taken apart by whatever costs least, into
// vectors of the even and of the odd images by a shift and a mask, for instance; a cell of FP16 goes through the
// converters of the instruction set. Which image sits in which vector matters to nobody: every operation between load
// and store is the same for all images.
#pragma once

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "core/dtype.hpp"
#include "core/packed.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

template <class T>
struct CellOf;

// BF16 in the upper half of each number, rounded to nearest even; NaN stays NaN.
inline MEZZOTINT_INLINE Bits rounded(Vec value) {
  const Bits bits = reinterpret_cast<Bits>(value);
  const auto is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return is_nan ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
}

template <class T>
constexpr int kVecsOf = static_cast<int>(kCellBytes / sizeof(T) / kVecFloats);

// A cell in FP32.
template <class T>
struct Wide {
  Vec v[kVecsOf<T>];
};

template <>
struct CellOf<float> {
  static inline MEZZOTINT_INLINE Wide<float> load(const Cell* from) {
    Wide<float> wide;
    const Vec* at = reinterpret_cast<const Vec*>(from);
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<float>; ++i) {
      wide.v[i] = at[i];
    }
    return wide;
  }

  template <bool kStream>
  static inline MEZZOTINT_INLINE void store(Cell* to, const Wide<float>& wide) {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<float>; ++i) {
      put<kStream>(reinterpret_cast<Bits*>(to) + i, reinterpret_cast<Bits>(wide.v[i]));
    }
  }
};

#ifdef __AVX512BF16__
// Taken apart as the instruction that joins two cells for a dot product would: quarters of low and of high words.
template <>
struct CellOf<BFloat16> {
  static inline MEZZOTINT_INLINE Wide<BFloat16> load(const Cell* from) {
    const __m512i words = _mm512_load_si512(from);
    const __m512i zero = _mm512_setzero_si512();
    return {{(Vec)_mm512_unpacklo_epi16(zero, words), (Vec)_mm512_unpackhi_epi16(zero, words)}};
  }

  template <bool kStream>
  static inline MEZZOTINT_INLINE void store(Cell* to, const Wide<BFloat16>& wide) {
    const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)wide.v[1], (__m512)wide.v[0]);
    put<kStream>(reinterpret_cast<Bits*>(to), (Bits)_mm512_permutexvar_epi64(order, halves));
  }
};
#else
template <>
struct CellOf<BFloat16> {
  static inline MEZZOTINT_INLINE Wide<BFloat16> load(const Cell* from) {
    Wide<BFloat16> wide;
    const Bits* at = reinterpret_cast<const Bits*>(from);
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      const Bits pair = once(at[i / 2]);
      wide.v[i] = reinterpret_cast<Vec>(pair << 16);
      wide.v[i + 1] = reinterpret_cast<Vec>(pair & 0xffff0000u);
    }
    return wide;
  }

  template <bool kStream>
  static inline MEZZOTINT_INLINE void store(Cell* to, const Wide<BFloat16>& wide) {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      put<kStream>(reinterpret_cast<Bits*>(to) + i / 2, interleaved(wide.v[i], wide.v[i + 1]));
    }
  }

 private:
#ifdef MEZZOTINT_NEON_BF16
  static inline MEZZOTINT_INLINE Bits interleaved(Vec even, Vec odd) {
    const uint16x8_t low = vreinterpretq_u16_bf16(vcvtq_low_bf16_f32((float32x4_t)even));
    const uint16x8_t high = vreinterpretq_u16_bf16(vcvtq_low_bf16_f32((float32x4_t)odd));
    return (Bits)vzip1q_u16(low, high);
  }
#else
  static inline MEZZOTINT_INLINE Bits interleaved(Vec even, Vec odd) {
    return (rounded(odd) & 0xffff0000u) | (rounded(even) >> 16);
  }
#endif
};
#endif

template <>
struct CellOf<Float16> {
  static inline MEZZOTINT_INLINE Wide<Float16> load(const Cell* from) {
    Wide<Float16> wide;
    const Float16* at = reinterpret_cast<const Float16*>(from);
#pragma GCC unroll 8
    for (int i = 0; i < kVecsOf<Float16>; ++i) {
      wide.v[i] = widened(at + i * kVecFloats);
    }
    return wide;
  }

  template <bool kStream>
  static inline MEZZOTINT_INLINE void store(Cell* to, const Wide<Float16>& wide) {
    Float16* at = reinterpret_cast<Float16*>(to);
#pragma GCC unroll 8
    for (int i = 0; i < kVecsOf<Float16>; ++i) {
      narrowed(wide.v[i], at + i * kVecFloats);
    }
  }

 private:
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  static inline MEZZOTINT_INLINE Vec widened(const Float16* from) {
    return (Vec)_mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static inline MEZZOTINT_INLINE void narrowed(Vec value, Float16* to) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT));
  }
#elif defined(__F16C__) && MEZZOTINT_VECTOR_FLOATS == 8
  static inline MEZZOTINT_INLINE Vec widened(const Float16* from) {
    return (Vec)_mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static inline MEZZOTINT_INLINE void narrowed(Vec value, Float16* to) {
    _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
  }
#elif defined(MEZZOTINT_NEON)
  typedef std::uint16_t Halves __attribute__((vector_size(8), may_alias));
  static inline MEZZOTINT_INLINE Vec widened(const Float16* from) {
    return (Vec)vcvt_f32_f16((float16x4_t) * reinterpret_cast<const Halves*>(from));
  }
  static inline MEZZOTINT_INLINE void narrowed(Vec value, Float16* to) {
    *reinterpret_cast<Halves*>(to) = (Halves)vcvt_f16_f32((float32x4_t)value);
  }
#else
  static inline MEZZOTINT_INLINE Vec widened(const Float16* from) {
    Vec value;
    for (int i = 0; i < kVecFloats; ++i) {
      value[i] = widen(from[i]);
    }
    return value;
  }
  static inline MEZZOTINT_INLINE void narrowed(Vec value, Float16* to) {
    for (int i = 0; i < kVecFloats; ++i) {
      narrow(value[i], to[i]);
    }
  }
#endif
};

// Applies change(vector) to all vectors of a cell.
template <class T, class Change>
inline MEZZOTINT_INLINE void each_vec(Wide<T>& wide, Change change) {
#pragma GCC unroll 8
  for (int i = 0; i < kVecsOf<T>; ++i) {
    change(wide.v[i]);
  }
}

// Applies change(vector, vector of the other) to all vectors of two cells.
template <class T, class Change>
inline MEZZOTINT_INLINE void each_vec(Wide<T>& wide, const Wide<T>& other, Change change) {
#pragma GCC unroll 8
  for (int i = 0; i < kVecsOf<T>; ++i) {
    change(wide.v[i], other.v[i]);
  }
}

// Calls use(T{}) with the element type.
template <class Use>
inline MEZZOTINT_INLINE void with_type(Dtype dtype, Use use) {
  switch (dtype) {
    case Dtype::kBFloat16:
      return use(BFloat16{});
    case Dtype::kFloat16:
      return use(Float16{});
    default:
      return use(0.0f);
  }
}

}  // namespace
}  // namespace mezzotint
