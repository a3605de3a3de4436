// How is the weight gradient summed at the nonzeros alone? Sampled dot products of the output gradient and the input.
//
// A few nonzeros of one output channel go together, so that they share the loads of the output gradient. Each has its
// own accumulators, whose order of summation does not depend on its companions: any cut of the nonzeros over threads
// gives the same bits.
#pragma once

#include "kernels/cell.hpp"
#include "kernels/jobs.hpp"
#include "kernels/square.hpp"

namespace mezzotint {
namespace {

// The numbers of a cell as factors of a product that is summed over the images: kSums sums grow side by side.
template <class T>
struct Factor {
  static constexpr int kSums = kVecsOf<T> >= 2 ? 2 : 1;
  Wide<T> wide;
  static inline MEZZOTINT_INLINE Factor load(const Cell* from) { return {CellOf<T>::load(from)}; }
  inline MEZZOTINT_INLINE void add_product(Vec (&sum)[kSums], const Cell* x) const {
    const Wide<T> other = CellOf<T>::load(x);
#pragma GCC unroll 8
    for (int i = 0; i < kVecsOf<T>; ++i) {
      sum[i % kSums] += wide.v[i] * other.v[i];
    }
  }
};

#ifdef __AVX512BF16__
// A dot product sums the two images of a pair: half of the instructions of an FMA.
template <>
struct Factor<BFloat16> {
  static constexpr int kSums = 1;
  __m512bh pairs;
  static inline MEZZOTINT_INLINE Factor load(const Cell* from) {
    return {(__m512bh) * reinterpret_cast<const Bits*>(from)};
  }
  inline MEZZOTINT_INLINE void add_product(Vec (&sum)[kSums], const Cell* x) const {
    sum[0] = (Vec)_mm512_dpbf16_ps((__m512)sum[0], pairs, (__m512bh) * reinterpret_cast<const Bits*>(x));
  }
};
#elif defined(MEZZOTINT_NEON_BF16)
template <>
struct Factor<BFloat16> {
  static constexpr int kSums = 2;
  Bits pairs[kVecsOf<BFloat16> / 2];
  static inline MEZZOTINT_INLINE Factor load(const Cell* from) {
    Factor factor;
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16> / 2; ++i) {
      factor.pairs[i] = reinterpret_cast<const Bits*>(from)[i];
    }
    return factor;
  }
  inline MEZZOTINT_INLINE void add_product(Vec (&sum)[kSums], const Cell* x) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16> / 2; ++i) {
      const bfloat16x8_t other = (bfloat16x8_t) reinterpret_cast<const Bits*>(x)[i];
      sum[i % kSums] = (Vec)vbfdotq_f32((float32x4_t)sum[i % kSums], (bfloat16x8_t)pairs[i], other);
    }
  }
};
#endif

// Nonzeros that go together: enough independent sums to hide the latency of an FMA, few enough to stay in registers
// beside the factors of one cell.
constexpr int kSumRegisters = MEZZOTINT_REGISTERS == 32 ? 20 : 10;
template <class T>
constexpr int kTogether = kSumRegisters / Factor<T>::kSums < 8 ? kSumRegisters / Factor<T>::kSums : 8;

template <class T, int kCount>
struct Sums {
  Vec sum[kCount][Factor<T>::kSums];
};

// Adds the total of each nonzero's accumulators to sums[0 .. kCount).
template <class T, int kCount>
inline MEZZOTINT_INLINE void add_totals(const Sums<T, kCount>& of, float* sums) {
  constexpr int kLast = Factor<T>::kSums - 1;
#pragma GCC unroll 2
  for (int i = 0; i < kCount; i += 4) {
    Square<float, 4> m = {};
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (i + j < kCount) {
        m.row[j] = fold(kLast == 1 ? of.sum[i + j][0] + of.sum[i + j][kLast] : of.sum[i + j][0]);
      }
    }
    transpose(m);
    const Vec4 total = (m.row[0] + m.row[1]) + (m.row[2] + m.row[3]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (i + j < kCount) {
        sums[i + j] += total[j];
      }
    }
  }
}

// Rows [0, rows) of one channel's output gradient against kCount inputs. kStep as in the gather kernel.
template <class T, int kCount, int kStep>
void sample(const WeightGradJob& job, const Cell* x, const Cell* gy, std::int64_t rows, const std::int32_t* offsets,
            float* sums) {
  const std::int64_t step = kStep ? kStep : job.x_column;
  Sums<T, kCount> tile = {};
  const Cell* from[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    from[i] = x + offsets[i];
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const Cell* g = gy + r * job.gy_row;
    std::int64_t at = r * job.x_row;
    for (std::int64_t c = 0; c < job.columns; ++c, ++g, at += step) {
      const Factor<T> grad = Factor<T>::load(g);
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) {
        grad.add_product(tile.sum[i], from[i] + at);
      }
    }
  }
  add_totals<T, kCount>(tile, sums);
}

using SampleFunction = void (*)(const WeightGradJob&, const Cell*, const Cell*, std::int64_t, const std::int32_t*,
                                float*);

template <class T, int kCount = kTogether<T>>
SampleFunction find_sample(std::int64_t count, std::int64_t step) {
  if constexpr (kCount == 0) {
    return nullptr;
  } else if (count >= kCount) {
    return step == 1 ? &sample<T, kCount, 1> : step == 2 ? &sample<T, kCount, 2> : &sample<T, kCount, 0>;
  } else {
    return find_sample<T, kCount - 1>(count, step);
  }
}

// The first segment that ends behind nonzero `k`.
std::int64_t segment_of(const WeightGradJob& job, std::int64_t k) {
  std::int64_t low = 0;
  std::int64_t high = job.channels * job.parts;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (job.segments[middle + 1] > k) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// One band of rows of one block against the nonzeros [first, last) that belong to `part`.
template <class T>
void sample_band(const WeightGradJob& job, const Cell* x, const Cell* gy, std::int64_t rows, std::int64_t part,
                 std::int64_t first, std::int64_t last) {
  const std::int64_t end_channel = segment_of(job, last - 1) / job.parts + 1;
  for (std::int64_t channel = segment_of(job, first) / job.parts; channel < end_channel; ++channel) {
    const std::int32_t* segment = job.segments + channel * job.parts + part;
    std::int64_t k = segment[0] > first ? segment[0] : first;
    const std::int64_t end = segment[1] < last ? segment[1] : last;
    while (k < end) {
      const std::int64_t count = end - k < kTogether<T> ? end - k : kTogether<T>;
      const Cell* g = gy + channel * job.gy_channel;
      find_sample<T>(count, job.x_column)(job, x, g, rows, job.offsets + k, job.sums + k);
      k += count;
    }
  }
}

template <class T>
void sample_bands(const WeightGradJob& job, std::int64_t first, std::int64_t last) {
  for (std::int64_t block = 0; block < job.blocks; ++block) {
    for (std::int64_t row = 0; row < job.rows; row += job.band_rows) {
      const std::int64_t left = job.rows - row;
      const std::int64_t rows = left < job.band_rows ? left : job.band_rows;
      const Cell* x = job.x + block * job.x_block + row * job.x_row;
      const Cell* gy = job.gy + block * job.gy_block + row * job.gy_row;
      for (std::int64_t part = 0; part < job.parts; ++part) {
        sample_band<T>(job, x, gy, rows, part, first, last);
      }
    }
  }
}

void weight_grad(const WeightGradJob& job, std::int64_t first, std::int64_t last) {
  if (first < last) {
    with_type(job.dtype, [&](auto type) MEZZOTINT_INLINE { sample_bands<decltype(type)>(job, first, last); });
  }
}

}  // namespace
}  // namespace mezzotint
