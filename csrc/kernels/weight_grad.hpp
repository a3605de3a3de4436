// How is the weight gradient summed at the nonzeros alone? Sampled dot products of the output gradient and the input.
//
// A few nonzeros of one output channel go together, so that they share the loads of the output gradient. Each has its
// own accumulators, whose order of summation does not depend on its companions: any cut of the nonzeros over threads
// gives the same bits.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

// Accumulators of a nonzero, and nonzeros that go together: enough independent sums to hide the latency of an FMA.
constexpr int kSums = kVecs >= 2 ? 2 : 1;
constexpr int kTogether = MEZZOTINT_REGISTERS == 32 ? 8 : (kVecs == 2 ? 6 : 4);

template <int kCount>
struct Sums {
  Vec sum[kCount][kSums];
};

// Adds the total of each nonzero's accumulators to sums[0 .. kCount).
template <int kCount>
inline MEZZOTINT_INLINE void add_totals(const Sums<kCount>& of, float* sums) {
#pragma GCC unroll 2
  for (int i = 0; i < kCount; i += 4) {
    Vec4 m[4] = {};
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (i + j < kCount) {
        m[j] = fold(kSums == 2 ? of.sum[i + j][0] + of.sum[i + j][kSums - 1] : of.sum[i + j][0]);
      }
    }
    transpose(m);
    const Vec4 total = (m[0] + m[1]) + (m[2] + m[3]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (i + j < kCount) {
        sums[i + j] += total[j];
      }
    }
  }
}

// Rows [0, rows) of one channel's output gradient against kCount inputs. kStep as in the gather kernel.
template <int kCount, int kStep>
void sample(const WeightGradJob& job, const float* x, const float* gy, std::int64_t rows, const std::int32_t* offsets,
            float* sums) {
  const std::int64_t step = (kStep ? kStep : job.x_column) * kLanes;
  Sums<kCount> tile = {};
  const float* from[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    from[i] = x + std::int64_t{offsets[i]} * kLanes;
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* g = gy + r * job.gy_row * kLanes;
    std::int64_t at = r * job.x_row * kLanes;
    for (std::int64_t c = 0; c < job.columns; ++c, g += kLanes, at += step) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        const Vec grad = load(g + v * kVecFloats);
#pragma GCC unroll 8
        for (int i = 0; i < kCount; ++i) {
          tile.sum[i][v % kSums] += grad * load(from[i] + at + v * kVecFloats);
        }
      }
    }
  }
  add_totals(tile, sums);
}

using SampleFunction = void (*)(const WeightGradJob&, const float*, const float*, std::int64_t, const std::int32_t*,
                                float*);

template <int kCount = kTogether>
SampleFunction find_sample(std::int64_t count, std::int64_t step) {
  if constexpr (kCount == 0) {
    return nullptr;
  } else if (count >= kCount) {
    return step == 1 ? &sample<kCount, 1> : step == 2 ? &sample<kCount, 2> : &sample<kCount, 0>;
  } else {
    return find_sample<kCount - 1>(count, step);
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
void sample_band(const WeightGradJob& job, const float* x, const float* gy, std::int64_t rows, std::int64_t part,
                 std::int64_t first, std::int64_t last) {
  const std::int64_t end_channel = segment_of(job, last - 1) / job.parts + 1;
  for (std::int64_t channel = segment_of(job, first) / job.parts; channel < end_channel; ++channel) {
    const std::int32_t* segment = job.segments + channel * job.parts + part;
    std::int64_t k = segment[0] > first ? segment[0] : first;
    const std::int64_t end = segment[1] < last ? segment[1] : last;
    while (k < end) {
      const std::int64_t count = end - k < kTogether ? end - k : kTogether;
      const float* g = gy + channel * job.gy_channel * kLanes;
      find_sample(count, job.x_column)(job, x, g, rows, job.offsets + k, job.sums + k);
      k += count;
    }
  }
}

void weight_grad(const WeightGradJob& job, std::int64_t first, std::int64_t last) {
  if (first >= last) {
    return;
  }
  for (std::int64_t block = 0; block < job.blocks; ++block) {
    for (std::int64_t row = 0; row < job.rows; row += job.band_rows) {
      const std::int64_t left = job.rows - row;
      const std::int64_t rows = left < job.band_rows ? left : job.band_rows;
      const float* x = job.x + (block * job.x_block + row * job.x_row) * kLanes;
      const float* gy = job.gy + (block * job.gy_block + row * job.gy_row) * kLanes;
      for (std::int64_t part = 0; part < job.parts; ++part) {
        sample_band(job, x, gy, rows, part, first, last);
      }
    }
  }
}

}  // namespace
}  // namespace mezzotint
