// What is a vector register here? GCC's and Clang's vector extensions, in the width that the ISA unit asks for.
#pragma once

#include <cstdint>

#include "core/packed.hpp"

// Everything between a kernel's loads and stores must become part of its loop.
#define MEZZOTINT_INLINE __attribute__((always_inline))

namespace mezzotint {
namespace {

constexpr std::int64_t kVecFloats = MEZZOTINT_VECTOR_FLOATS;
constexpr std::int64_t kVecs = kLanes / kVecFloats;  // vectors in a cell

template <int kWidth>
struct VectorOf;
template <>
struct VectorOf<4> {
  typedef float Float __attribute__((vector_size(16), may_alias));
  typedef float Loose __attribute__((vector_size(16), may_alias, aligned(4)));
  typedef std::uint32_t Bits __attribute__((vector_size(16), may_alias));
  typedef std::uint16_t Short __attribute__((vector_size(8), may_alias, aligned(2)));
};
template <>
struct VectorOf<8> {
  typedef float Float __attribute__((vector_size(32), may_alias));
  typedef float Loose __attribute__((vector_size(32), may_alias, aligned(4)));
  typedef std::uint32_t Bits __attribute__((vector_size(32), may_alias));
  typedef std::uint16_t Short __attribute__((vector_size(16), may_alias, aligned(2)));
};
template <>
struct VectorOf<16> {
  typedef float Float __attribute__((vector_size(64), may_alias));
};

using Vec = VectorOf<kVecFloats>::Float;
using Vec4 = VectorOf<4>::Float;

inline MEZZOTINT_INLINE Vec load(const float* from) {
  return *reinterpret_cast<const Vec*>(from);
}

inline MEZZOTINT_INLINE void store(float* to, Vec value) {
  *reinterpret_cast<Vec*>(to) = value;
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

inline MEZZOTINT_INLINE void transpose(Vec4 (&m)[4]) {
  const Vec4 a = __builtin_shufflevector(m[0], m[1], 0, 4, 1, 5);
  const Vec4 b = __builtin_shufflevector(m[0], m[1], 2, 6, 3, 7);
  const Vec4 c = __builtin_shufflevector(m[2], m[3], 0, 4, 1, 5);
  const Vec4 d = __builtin_shufflevector(m[2], m[3], 2, 6, 3, 7);
  m[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  m[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  m[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  m[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

#if MEZZOTINT_VECTOR_FLOATS >= 8
// The first two rounds stay within 128-bit halves (one cheap instruction each), the third exchanges the halves.
inline MEZZOTINT_INLINE void transpose(VectorOf<8>::Float (&m)[8]) {
  VectorOf<8>::Float t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(m[i], m[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(m[i], m[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    u[i + 1] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    u[i + 2] = __builtin_shufflevector(t[i + 1], t[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    u[i + 3] = __builtin_shufflevector(t[i + 1], t[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    m[i] = __builtin_shufflevector(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    m[i + 4] = __builtin_shufflevector(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#endif

}  // namespace
}  // namespace mezzotint
