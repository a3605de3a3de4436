// What is a vector register here? GCC's and Clang's vector extensions, in the width that the ISA unit asks for.
#pragma once

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif
#ifdef MEZZOTINT_NEON  // the unit asks for it: the portable one does without, whatever the CPU
#include <arm_neon.h>
#ifdef __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
#define MEZZOTINT_NEON_BF16
#endif
#endif

#include <cstdint>

#include "core/packed.hpp"

// Everything between a kernel's loads and stores must become part of its loop.
#define MEZZOTINT_INLINE __attribute__((always_inline))

namespace mezzotint {
namespace {

constexpr std::int64_t kVecFloats = MEZZOTINT_VECTOR_FLOATS;

template <int kWidth>
struct VectorOf;
template <>
struct VectorOf<4> {
  typedef float Float __attribute__((vector_size(16), may_alias));
  typedef std::uint32_t Bits __attribute__((vector_size(16), may_alias));
};
template <>
struct VectorOf<8> {
  typedef float Float __attribute__((vector_size(32), may_alias));
  typedef std::uint32_t Bits __attribute__((vector_size(32), may_alias));
};
template <>
struct VectorOf<16> {
  typedef float Float __attribute__((vector_size(64), may_alias));
  typedef std::uint32_t Bits __attribute__((vector_size(64), may_alias));
};

using Vec = VectorOf<kVecFloats>::Float;
using Bits = VectorOf<kVecFloats>::Bits;
using Vec4 = VectorOf<4>::Float;
typedef std::uint32_t LooseBits __attribute__((vector_size(sizeof(Bits)), aligned(2), may_alias));

inline MEZZOTINT_INLINE Vec broadcast(float value) {
  return value - Vec{};
}

// Keeps the compiler from reading the same memory twice in place of holding it in a register.
inline MEZZOTINT_INLINE Bits once(Bits value) {
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  __asm__("" : "+v"(value));
#elif defined(__AVX2__) && MEZZOTINT_VECTOR_FLOATS == 8
  __asm__("" : "+x"(value));
#endif
  return value;
}

// Writes a vector; with kStream around the caches, where the instruction set can. Such writes are ordered by fence().
template <bool kStream>
inline MEZZOTINT_INLINE void put(Bits* to, Bits value) {
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  if constexpr (kStream) {
    return _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)value);
  }
#elif defined(__AVX2__) && MEZZOTINT_VECTOR_FLOATS == 8
  if constexpr (kStream) {
    return _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)value);
  }
#endif
  *to = value;
}

inline MEZZOTINT_INLINE void fence() {
#if defined(__AVX512F__) || defined(__AVX2__)
  _mm_sfence();
#endif
}

// The 4-vector of the sums over quarters: element i adds elements i, i + 4, i + 8 ...
inline MEZZOTINT_INLINE Vec4 fold(VectorOf<4>::Float value) {
  return value;
}

#if MEZZOTINT_VECTOR_FLOATS >= 8
inline MEZZOTINT_INLINE Vec4 fold(VectorOf<8>::Float value) {
  return __builtin_shufflevector(value, value, 0, 1, 2, 3) + __builtin_shufflevector(value, value, 4, 5, 6, 7);
}
#endif

#if MEZZOTINT_VECTOR_FLOATS >= 16
inline MEZZOTINT_INLINE Vec4 fold(VectorOf<16>::Float value) {
  return fold(__builtin_shufflevector(value, value, 0, 1, 2, 3, 4, 5, 6, 7) +
              __builtin_shufflevector(value, value, 8, 9, 10, 11, 12, 13, 14, 15));
}
#endif

}  // namespace
}  // namespace mezzotint
