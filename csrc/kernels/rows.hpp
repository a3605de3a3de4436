// How are rows of numbers multiplied with a matrix, after the last plane? With all of its weights, or with its nonzeros
// alone, whose inputs are gathered.
#pragma once

#include "kernels/curve.hpp"
#include "kernels/halves.hpp"
#include "kernels/plane_products.hpp"

namespace mezzotint {
namespace {

inline MEZZOTINT_INLINE float sum_of(Vec value) {
  const Vec4 quarters = fold(value);
  return (quarters[0] + quarters[1]) + (quarters[2] + quarters[3]);
}

// Adds the products of two cells, in an order of its own that never changes.
template <class T>
inline MEZZOTINT_INLINE void add_products(Vec& sum, const Cell* a, const Cell* b) {
#ifdef __AVX512BF16__
  if constexpr (sizeof(T) == sizeof(BFloat16)) {
    sum = (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_load_si512(a), (__m512bh)_mm512_load_si512(b));
    return;
  }
#endif
  Wide<T> products = CellOf<T>::load(a);
  each_vec(products, CellOf<T>::load(b), [&](Vec& v, Vec o) MEZZOTINT_INLINE { sum += v * o; });
}

// What follows the products of a row and an output.
inline void put_product(const RowsProductJob& job, Vec products, std::int64_t row, std::int64_t output) {
  Vec all = broadcast(sum_of(products) + job.bias[output]);
  activate(job.after, [&](const auto& change) MEZZOTINT_INLINE { change(all); });
  const std::int64_t at = row * job.y_row + output;
  if (job.y_dtype == Dtype::kFloat32) {
    static_cast<float*>(job.y)[at] = all[0];
  } else {
    narrow(all[0], static_cast<BFloat16*>(job.y)[at]);
  }
}

constexpr int kProductOutputs = MEZZOTINT_REGISTERS == 32 ? 6 : 4;
constexpr int kProductRows = MEZZOTINT_REGISTERS == 32 ? 4 : 2;

template <class T, int kRows, int kOutputs>
void product_tile(const RowsProductJob& job, std::int64_t row, std::int64_t output) {
  Vec sums[kRows][kOutputs] = {};
  for (std::int64_t cell = 0; cell < job.cells; ++cell) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int o = 0; o < kOutputs; ++o) {
        add_products<T>(sums[r][o], job.x + (row + r) * job.cells + cell, job.weight + (output + o) * job.cells + cell);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOutputs; ++o) {
      put_product(job, sums[r][o], row + r, output + o);
    }
  }
}

template <class T, int kRows>
void product_rows(const RowsProductJob& job, std::int64_t row, std::int64_t first, std::int64_t last) {
  for (; last - first >= kProductOutputs; first += kProductOutputs) {
    product_tile<T, kRows, kProductOutputs>(job, row, first);
  }
  for (; first < last; ++first) {
    product_tile<T, kRows, 1>(job, row, first);
  }
}

// Numbers of a row at so many places.
inline MEZZOTINT_INLINE Vec gathered(const float* row, Bits places) {
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  return (Vec)_mm512_i32gather_ps((__m512i)places, row, 4);
#elif defined(__AVX2__) && MEZZOTINT_VECTOR_FLOATS == 8
  return (Vec)_mm256_i32gather_ps(row, (__m256i)places, 4);
#else
  Vec found;
  for (int i = 0; i < kVecFloats; ++i) {
    found[i] = row[places[i]];
  }
  return found;
#endif
}
// With each comes the number behind it, which is shifted out; behind a row there is always memory.
inline MEZZOTINT_INLINE Vec gathered(const BFloat16* row, Bits places) {
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  return reinterpret_cast<Vec>((Bits)_mm512_i32gather_epi32((__m512i)places, row, 2) << 16);
#elif defined(__AVX2__) && MEZZOTINT_VECTOR_FLOATS == 8
  const auto* const pairs = reinterpret_cast<const int*>(row);
  return reinterpret_cast<Vec>((Bits)_mm256_i32gather_epi32(pairs, (__m256i)places, 2) << 16);
#else
  Vec found;
  for (int i = 0; i < kVecFloats; ++i) {
    found[i] = widen(row[places[i]]);
  }
  return found;
#endif
}

// A vector of 16-bit numbers in 32 bits each.
inline MEZZOTINT_INLINE Bits widened(const std::uint16_t* from) {
  typedef std::uint16_t Halves __attribute__((vector_size(sizeof(Vec) / 2)));
  Halves halves;
  __builtin_memcpy(&halves, from, sizeof halves);
  return __builtin_convertvector(halves, Bits);
}
inline MEZZOTINT_INLINE Bits widened(const std::uint32_t* from) {
  Bits bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return bits;
}
inline MEZZOTINT_INLINE Vec weights_of(const float* from) {
  return *reinterpret_cast<const LooseVec*>(from);
}
inline MEZZOTINT_INLINE Vec weights_of(const BFloat16* from) {
  return reinterpret_cast<Vec>(widened(&from->bits) << 16);
}

// The nonzeros of outputs [first, last), for one row; two sums take turns.
template <class T, class Place>
void gather_row(const RowsProductJob& job, std::int64_t row, std::int64_t first, std::int64_t last) {
  using Block = RowBlock<T, Place>;
  constexpr int kVecs = static_cast<int>(kBlock / kVecFloats);
  const T* const x = reinterpret_cast<const T*>(job.x + row * job.cells);
  const auto* const blocks = static_cast<const Block*>(job.blocks);
  for (std::int64_t output = first; output < last; ++output) {
    Vec sums[2] = {};
    const auto add = [&](const Block& block, int turn) MEZZOTINT_INLINE {
#pragma GCC unroll 4
      for (int i = 0; i < kVecs; ++i) {
        const Vec numbers = gathered(x, widened(block.places + i * kVecFloats));
        sums[(turn + i) % 2] += weights_of(block.weights + i * kVecFloats) * numbers;
      }
    };
    const Block* block = blocks + job.segments[output];
    const Block* const end = blocks + job.segments[output + 1];
    for (; end - block >= 2; block += 2) {
      add(block[0], 0);
      add(block[1], 1);
    }
    if (block != end) {
      add(*block, 0);
    }
    put_product(job, sums[0] + sums[1], row, output);
  }
}

template <class T>
void product_all(const RowsProductJob& job, std::int64_t first, std::int64_t last) {
  std::int64_t row = 0;
  for (; job.blocks && row < job.rows; ++row) {
    job.wide_places ? gather_row<T, std::uint32_t>(job, row, first, last)
                    : gather_row<T, std::uint16_t>(job, row, first, last);
  }
  for (; job.rows - row >= kProductRows; row += kProductRows) {
    product_rows<T, kProductRows>(job, row, first, last);
  }
  for (; row < job.rows; ++row) {
    product_rows<T, 1>(job, row, first, last);
  }
}

void rows_product(const RowsProductJob& job, std::int64_t first_output, std::int64_t last_output) {
  job.dtype == Dtype::kBFloat16 ? product_all<BFloat16>(job, first_output, last_output)
                                : product_all<float>(job, first_output, last_output);
}

}  // namespace
}  // namespace mezzotint
