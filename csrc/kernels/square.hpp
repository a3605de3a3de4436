// How is a small square of elements transposed? 4 x 4 and 8 x 8, of FP32 or of any 16-bit type, or 16 x 16 words, in
// registers.
#pragma once

#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

template <class T, int kWidth>
struct RowType;
template <>
struct RowType<float, 4> {
  typedef float Row __attribute__((vector_size(16), may_alias));
  typedef float Loose __attribute__((vector_size(16), may_alias, aligned(4)));
};
template <>
struct RowType<float, 8> {
  typedef float Row __attribute__((vector_size(32), may_alias));
  typedef float Loose __attribute__((vector_size(32), may_alias, aligned(4)));
};
template <>
struct RowType<float, 16> {
  typedef float Row __attribute__((vector_size(64), may_alias));
  typedef float Loose __attribute__((vector_size(64), may_alias, aligned(4)));
};
template <>
struct RowType<std::uint16_t, 4> {
  typedef std::uint16_t Row __attribute__((vector_size(8), may_alias));
  typedef std::uint16_t Loose __attribute__((vector_size(8), may_alias, aligned(2)));
};
template <>
struct RowType<std::uint16_t, 8> {
  typedef std::uint16_t Row __attribute__((vector_size(16), may_alias));
  typedef std::uint16_t Loose __attribute__((vector_size(16), may_alias, aligned(2)));
};

template <class T, int kWidth>
using RowOf = typename RowType<T, kWidth>::Row;

template <class T, int kWidth>
struct Square {
  RowOf<T, kWidth> row[kWidth];
};

template <class T, int kWidth>
inline MEZZOTINT_INLINE RowOf<T, kWidth> load_row(const T* from) {
  return *reinterpret_cast<const typename RowType<T, kWidth>::Loose*>(from);
}

template <class T, int kWidth>
inline MEZZOTINT_INLINE void store_row(T* to, RowOf<T, kWidth> row) {
  *reinterpret_cast<typename RowType<T, kWidth>::Loose*>(to) = row;
}

template <class T>
inline MEZZOTINT_INLINE void transpose(Square<T, 4>& m) {
  const RowOf<T, 4> a = __builtin_shufflevector(m.row[0], m.row[1], 0, 4, 1, 5);
  const RowOf<T, 4> b = __builtin_shufflevector(m.row[0], m.row[1], 2, 6, 3, 7);
  const RowOf<T, 4> c = __builtin_shufflevector(m.row[2], m.row[3], 0, 4, 1, 5);
  const RowOf<T, 4> d = __builtin_shufflevector(m.row[2], m.row[3], 2, 6, 3, 7);
  m.row[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  m.row[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  m.row[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  m.row[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

// The first two rounds stay within 128-bit halves (one cheap instruction each), the third exchanges the halves.
inline MEZZOTINT_INLINE void transpose(Square<float, 8>& m) {
  RowOf<float, 8> t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(m.row[i], m.row[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(m.row[i], m.row[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
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
    m.row[i] = __builtin_shufflevector(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    m.row[i + 4] = __builtin_shufflevector(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

// Four rounds, each interleaving row i with row i + 8; see below.
inline MEZZOTINT_INLINE void transpose(Square<float, 16>& m) {
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
    RowOf<float, 16> t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      t[2 * i] =
          __builtin_shufflevector(m.row[i], m.row[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      t[2 * i + 1] =
          __builtin_shufflevector(m.row[i], m.row[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      m.row[i] = t[i];
    }
  }
}

// Three rounds, each interleaving row i with row i + 4: a round rotates the six bits of (row, column) by one place,
// three exchange row and column.
inline MEZZOTINT_INLINE void transpose(Square<std::uint16_t, 8>& m) {
#pragma GCC unroll 3
  for (int round = 0; round < 3; ++round) {
    RowOf<std::uint16_t, 8> t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      t[2 * i] = __builtin_shufflevector(m.row[i], m.row[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      t[2 * i + 1] = __builtin_shufflevector(m.row[i], m.row[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      m.row[i] = t[i];
    }
  }
}

}  // namespace
}  // namespace mezzotint
