// How is the weight gradient summed at the nonzeros alone? Sampled dot products of the output gradient and the input.
//
// A few nonzeros of one output channel go together, so that they share the loads of the output gradient. Each has its
// own accumulators, whose order of summation does not depend on its companions: any cut of the nonzeros over threads
// gives the same bits.
#pragma once

#include "kernels/factor.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {
namespace {

// Nonzeros that go together: enough independent sums to hide the latency of an FMA, few enough to stay in registers
// beside the factors of one cell. What a group costs beside its products weighs most where products are dot products:
// most channels' nine or ten nonzeros are one group there.
constexpr int kSumRegisters = MEZZOTINT_REGISTERS == 32 ? 24 : 10;
template <class T>
constexpr int kSumsEach = Factor<T>::kSums * Factor<T>::kColumns;
template <class T>
constexpr int kMostTogether = Factor<T>::kColumns > 1 ? 12 : 8;
template <class T>
constexpr int kTogether =
    kSumRegisters / kSumsEach<T> < kMostTogether<T> ? kSumRegisters / kSumsEach<T> : kMostTogether<T>;

template <class T, int kCount>
struct Sums {
  Vec sum[Factor<T>::kColumns][kCount][Factor<T>::kSums];

  inline MEZZOTINT_INLINE Vec total(int i) const {
    Vec all = sum[0][i][0];
#pragma GCC unroll 4
    for (int s = 1; s < kSumsEach<T>; ++s) {
      all += sum[s / Factor<T>::kSums][i][s % Factor<T>::kSums];
    }
    return all;
  }
};

// Adds the total of each nonzero's accumulators to sums[0 .. kCount).
template <class T, int kCount>
inline MEZZOTINT_INLINE void add_totals(const Sums<T, kCount>& of, float* sums) {
#pragma GCC unroll 3
  for (int i = 0; i < kCount; i += 4) {
    Square<float, 4> m = {};
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (i + j < kCount) {
        m.row[j] = fold(of.total(i + j));
      }
    }
    const Vec4 total = totals_of(m);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (i + j < kCount) {
        sums[i + j] += total[j];
      }
    }
  }
}

// A band of one block: its output pixels, and where they begin, channel 0.
struct BandPlace {
  const Cell* x;
  const Cell* gy;
  std::int64_t rows, columns;
};

// A band of one channel's output gradient, from `gy` on, against kCount inputs. kStep as in the gather kernel.
template <class T, int kCount, int kStep>
void sample(const WeightGradJob& job, const BandPlace& place, const Cell* gy, const std::int32_t* offsets,
            float* sums) {
  const std::int64_t step = kStep ? kStep : job.x_column;
  Sums<T, kCount> tile = {};
  const Cell* from[kCount];
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    from[i] = place.x + offsets[i];
  }
  constexpr int kColumns = Factor<T>::kColumns;
  for (std::int64_t r = 0; r < place.rows; ++r) {
    const Cell* g = gy + r * job.gy_row;
    std::int64_t at = r * job.x_row;
    const auto add = [&](int chain) MEZZOTINT_INLINE {
      const Factor<T> grad = Factor<T>::load(g);
#pragma GCC unroll 12
      for (int i = 0; i < kCount; ++i) {
        grad.add_product(tile.sum[chain][i], Factor<T>::load(from[i] + at));
      }
      ++g;
      at += step;
    };
    std::int64_t c = 0;
    for (; c + kColumns <= place.columns; c += kColumns) {
#pragma GCC unroll 2
      for (int chain = 0; chain < kColumns; ++chain) {
        add(chain);
      }
    }
    for (; c < place.columns; ++c) {
      add(0);
    }
  }
  add_totals<T, kCount>(tile, sums);
}

using SampleFunction = void (*)(const WeightGradJob&, const BandPlace&, const Cell*, const std::int32_t*, float*);

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

// Columns are cut evenly, as those of tiles are.
BandPlace band_place(const WeightGradJob& job, std::int64_t band) {
  const std::int64_t across = (job.columns + job.band_columns - 1) / job.band_columns;
  const std::int64_t down = (job.rows + job.band_rows - 1) / job.band_rows;
  const std::int64_t block = band / across / down, row = band / across % down * job.band_rows;
  const std::int64_t column = band % across * job.columns / across;
  const std::int64_t left = job.rows - row;
  return {job.x + block * job.x_block + row * job.x_row + column * job.x_column,
          job.gy + block * job.gy_block + row * job.gy_row + column, left < job.band_rows ? left : job.band_rows,
          (band % across + 1) * job.columns / across - column};
}

// Asks for `rows` rows of cells [0, end), every `step`th of them.
inline void fetch_rows(const Cell* at, std::int64_t rows, std::int64_t row, std::int64_t end, std::int64_t step = 1) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < end; i += step) {
      __builtin_prefetch(at + r * row + i, 0, 2);
    }
  }
}

// The nonzeros [first, last) that belong to `part`, in one band. Meanwhile the rows that come next are asked for: those
// of the next output channel, and bit by bit those of `next`, the next part of the input.
template <class T>
void sample_band(const WeightGradJob& job, const BandPlace& place, const Cell* next, std::int64_t part,
                 std::int64_t first, std::int64_t last, float* sums) {
  const std::int64_t begin_channel = segment_of(job, first) / job.parts;
  const std::int64_t end_channel = segment_of(job, last - 1) / job.parts + 1;
  const std::int64_t channels = end_channel - begin_channel;
  const std::int64_t next_rows = job.fetch_span + (place.rows - 1) * job.fetch_step;
  const std::int64_t next_columns = job.fetch_width + (place.columns - 1) * job.x_column;
  const std::int64_t next_step = job.fetch_width < job.x_column ? job.x_column : 1;
  for (std::int64_t channel = begin_channel; channel < end_channel; ++channel) {
    const std::int32_t* segment = job.segments + channel * job.parts + part;
    std::int64_t k = segment[0] > first ? segment[0] : first;
    const std::int64_t end = segment[1] < last ? segment[1] : last;
    const Cell* gy = place.gy + channel * job.gy_channel;
    if (job.fetch_span > 0) {
      if (channel + 1 < end_channel) {
        fetch_rows(gy + job.gy_channel, place.rows, job.gy_row, place.columns);
      }
      const std::int64_t at = channel - begin_channel;
      for (std::int64_t c = at * job.part_channels / channels; next && c < (at + 1) * job.part_channels / channels;
           ++c) {
        fetch_rows(next + c * job.x_channel, next_rows, job.fetch_row, next_columns, next_step);
      }
    }
    if (job.ahead.at) {
      fetch_rows(job.ahead.at + channel * job.ahead.channel, 1, 0, job.ahead.columns);
    }
    while (k < end) {
      const std::int64_t count = end - k < kTogether<T> ? end - k : kTogether<T>;
      find_sample<T>(count, job.x_column)(job, place, gy, job.offsets + k, sums + k);
      k += count;
    }
  }
}

template <class T>
void sample_bands(const WeightGradJob& job, std::int64_t first_band, std::int64_t last_band, std::int64_t first,
                  std::int64_t last, float* sums) {
  for (std::int64_t band = first_band; band < last_band; ++band) {
    const BandPlace place = band_place(job, band);
    for (std::int64_t part = 0; part < job.parts; ++part) {
      const Cell* next = part + 1 < job.parts   ? place.x + (part + 1) * job.part_channels * job.x_channel
                         : band + 1 < last_band ? band_place(job, band + 1).x
                                                : nullptr;
      sample_band<T>(job, place, next, part, first, last, sums);
    }
  }
}

void weight_grad(const WeightGradJob& job, std::int64_t first_band, std::int64_t last_band, std::int64_t first,
                 std::int64_t last, float* sums) {
  if (first < last) {
    with_type(job.dtype, [&](auto type) MEZZOTINT_INLINE {
      sample_bands<decltype(type)>(job, first_band, last_band, first, last, sums);
    });
  }
}

}  // namespace
}  // namespace mezzotint
