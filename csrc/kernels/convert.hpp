// How are a few neighbouring elements read as FP32, and written back rounded? Vector forms of core/dtype.hpp.
#pragma once

#ifdef __F16C__
#include <immintrin.h>
#endif

#include "core/dtype.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

template <int kWidth>
inline MEZZOTINT_INLINE typename VectorOf<kWidth>::Float read(const float* from) {
  return *reinterpret_cast<const typename VectorOf<kWidth>::Loose*>(from);
}

template <int kWidth>
inline MEZZOTINT_INLINE void write(float* to, typename VectorOf<kWidth>::Float value) {
  *reinterpret_cast<typename VectorOf<kWidth>::Loose*>(to) = value;
}

template <int kWidth>
inline MEZZOTINT_INLINE typename VectorOf<kWidth>::Float read(const BFloat16* from) {
  using Types = VectorOf<kWidth>;
  const auto bits = *reinterpret_cast<const typename Types::Short*>(from);
  return reinterpret_cast<typename Types::Float>(__builtin_convertvector(bits, typename Types::Bits) << 16);
}

template <int kWidth>
inline MEZZOTINT_INLINE void write(BFloat16* to, typename VectorOf<kWidth>::Float value) {
  using Types = VectorOf<kWidth>;
  const auto bits = reinterpret_cast<typename Types::Bits>(value);
  const auto is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const auto rounded = is_nan ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
  *reinterpret_cast<typename Types::Short*>(to) = __builtin_convertvector(rounded >> 16, typename Types::Short);
}

#ifdef __F16C__
template <int kWidth>
inline MEZZOTINT_INLINE typename VectorOf<kWidth>::Float read(const Float16* from) {
  if constexpr (kWidth == 8) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  } else {
    return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  }
}

template <int kWidth>
inline MEZZOTINT_INLINE void write(Float16* to, typename VectorOf<kWidth>::Float value) {
  if constexpr (kWidth == 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  } else {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  }
}
#else
template <int kWidth>
inline MEZZOTINT_INLINE typename VectorOf<kWidth>::Float read(const Float16* from) {
  typename VectorOf<kWidth>::Float value;
  for (int i = 0; i < kWidth; ++i) {
    value[i] = widen(from[i]);
  }
  return value;
}

template <int kWidth>
inline MEZZOTINT_INLINE void write(Float16* to, typename VectorOf<kWidth>::Float value) {
  for (int i = 0; i < kWidth; ++i) {
    narrow(value[i], to[i]);
  }
}
#endif

}  // namespace
}  // namespace mezzotint
