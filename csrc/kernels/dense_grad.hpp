// How is the gradient of a whole weight summed? As a matrix product of output gradients and inputs: blocks of output
// channels and taps, each of which shares its loads with all of the other side.
//
// Windows of three columns take two thirds of the products where columns go in pairs (Winograd's F(3, 2); Lavin and
// Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, for the forward pass). Two neighbouring output
// gradients d0, d1 meet the inputs x0 .. x3 of their windows:
//   m0 = (x0 - x2) d0,  m1 = (x1 + x2) (d0 + d1),  m2 = (x2 - x1) (d0 - d1),  m3 = (x3 - x1) d1;
//   gradients of the three columns: m0 + (m1 + m2) / 2,  (m1 - m2) / 2,  m3 + (m1 + m2) / 2.
// The four are summed over everything before that last step, which whoever reads the sums does. Combined inputs and
// gradients are rounded to the element type once more: an error as large as that of rounding them in the first place.
#pragma once

#include "kernels/factor.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {
namespace {

// Output channels and taps whose sums are in registers at a time, beside the gradients of the ones and the input of a
// tap.
template <class T>
struct DenseBlock {
  static constexpr bool kOneRegister = sizeof(Factor<T>) == sizeof(Vec) && MEZZOTINT_REGISTERS == 32;
  static constexpr int kOuts = kOneRegister ? 4 : 2;
  static constexpr int kTaps = kOneRegister ? 6 : 4;
  static_assert(kOutsTogether % kOuts == 0);
};

// How output gradients and the inputs that they meet are walked, side by side.
struct DenseWalk {
  std::int64_t blocks, rows, columns;
  std::int64_t gy_block, gy_row, gy_column;
  std::int64_t x_block, x_row, x_column;
};

// Adds numbers [first, first + kOuts) of a total.
template <int kOuts>
inline MEZZOTINT_INLINE void add_some(Vec4 total, int first, float* sums) {
  if constexpr (kOuts == 4) {
    *reinterpret_cast<Vec4*>(sums) += total;
  } else {
    sums[0] += total[first];
    sums[1] += total[first + 1];
  }
}

// The first `taps` taps; there are more in a block only at the end.
template <class T>
void multiply(const DenseWalk& walk, const Cell* const* gy, const Cell* const* x, std::int64_t taps, float* sums,
              std::int64_t outs) {
  constexpr int kOuts = DenseBlock<T>::kOuts, kTaps = DenseBlock<T>::kTaps;
  Vec sum[kTaps][kOuts][1] = {};
  for (std::int64_t b = 0; b < walk.blocks; ++b) {
    for (std::int64_t r = 0; r < walk.rows; ++r) {
      std::int64_t at_gy = b * walk.gy_block + r * walk.gy_row, at_x = b * walk.x_block + r * walk.x_row;
      for (std::int64_t c = 0; c < walk.columns; ++c, at_gy += walk.gy_column, at_x += walk.x_column) {
        Factor<T> gradient[kOuts];
#pragma GCC unroll 4
        for (int o = 0; o < kOuts; ++o) {
          gradient[o] = Factor<T>::load(gy[o] + at_gy);
        }
#pragma GCC unroll 8
        for (int t = 0; t < kTaps; ++t) {
          const Factor<T> input = Factor<T>::load(x[t] + at_x);
#pragma GCC unroll 4
          for (int o = 0; o < kOuts; ++o) {
            gradient[o].add_product(sum[t][o], input);
          }
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kTaps * kOuts; i += 4) {
    Square<float, 4> folded;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      folded.row[j] = fold(sum[(i + j) / kOuts][(i + j) % kOuts][0]);
    }
    const Vec4 total = totals_of(folded);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j += kOuts) {
      const int t = (i + j) / kOuts;
      if (t < taps) {
        add_some<kOuts>(total, j, sums + t * outs);
      }
    }
  }
}

// Some input channels with their taps, side by side: steps from channel to channel and within a window.
struct Taps2d {
  const Cell* x;
  std::int64_t channels, kernel_h, kernel_w;
  std::int64_t channel, row, column;
};

// All taps with output channels [0, count), whose gradients begin at `gy`. A block beyond the last channel or tap
// repeats it.
template <class T>
void multiply_all(const DenseWalk& walk, const Taps2d& of, const Cell* gy, std::int64_t gy_channel, std::int64_t count,
                  float* sums, std::int64_t outs) {
  constexpr int kOuts = DenseBlock<T>::kOuts, kTaps = DenseBlock<T>::kTaps;
  const std::int64_t taps = of.channels * of.kernel_h * of.kernel_w;
  for (std::int64_t first = 0; first < taps; first += kTaps) {
    const Cell* x[kTaps];
    for (int t = 0; t < kTaps; ++t) {
      const std::int64_t tap = first + t < taps ? first + t : taps - 1;
      x[t] = of.x + tap / (of.kernel_h * of.kernel_w) * of.channel + tap / of.kernel_w % of.kernel_h * of.row +
             tap % of.kernel_w * of.column;
    }
    for (std::int64_t o = 0; o < count; o += kOuts) {
      const Cell* gradients[kOuts];
      for (int i = 0; i < kOuts; ++i) {
        gradients[i] = gy + (o + i < count ? o + i : count - 1) * gy_channel;
      }
      multiply<T>(walk, gradients, x, taps - first, sums + first * outs + o, outs);
    }
  }
}

// A band of output positions.
struct DenseBand {
  std::int64_t block, blocks, row, rows, column, columns;
};

DenseBand dense_band(const DenseGradJob& job, std::int64_t number) {
  const std::int64_t across = (job.columns + job.band_columns - 1) / job.band_columns;
  const std::int64_t down = (job.rows + job.band_rows - 1) / job.band_rows;
  const auto cut = [](std::int64_t at, std::int64_t size, std::int64_t all) {
    return all - at < size ? all - at : size;
  };
  DenseBand band{};
  band.block = number / across / down * job.band_blocks;
  band.row = number / across % down * job.band_rows;
  band.column = number % across * job.band_columns;
  band.blocks = cut(band.block, job.band_blocks, job.blocks);
  band.rows = cut(band.row, job.band_rows, job.rows);
  band.columns = cut(band.column, job.band_columns, job.columns);
  return band;
}

template <class T>
inline MEZZOTINT_INLINE Wide<T> sum_of(Wide<T> one, const Wide<T>& other) {
  each_vec(one, other, [](Vec& a, Vec b) MEZZOTINT_INLINE { a += b; });
  return one;
}
template <class T>
inline MEZZOTINT_INLINE Wide<T> difference_of(Wide<T> one, const Wide<T>& other) {
  each_vec(one, other, [](Vec& a, Vec b) MEZZOTINT_INLINE { a -= b; });
  return one;
}

// The rows of a band that windows read.
inline std::int64_t rows_read(const DenseGradJob& job, const DenseBand& band) {
  return (band.rows - 1) * job.stride_h + (job.kernel_h - 1) * job.dilation_h + 1;
}

// Four combinations of the inputs [first, first + count) of a band, each [channel][block][row][pair]. A last column
// without a neighbour has no d1, and needs no x3.
template <class T>
void combine_inputs(const DenseGradJob& job, const DenseBand& band, std::int64_t first, std::int64_t count, Cell* to) {
  const std::int64_t rows = rows_read(job, band), pairs = (band.columns + 1) / 2;
  const std::int64_t part = count * band.blocks * rows * pairs;
  const Cell* const from = job.x + band.block * job.x_block + band.row * job.stride_h * job.x_row + band.column;
  for (std::int64_t i = 0; i < count * band.blocks * rows; ++i, to += pairs) {
    const std::int64_t channel = first + i / rows / band.blocks, block = i / rows % band.blocks;
    const Cell* x = from + channel * job.x_channel + block * job.x_block + i % rows * job.x_row;
    Wide<T> x0 = CellOf<T>::load(x), x1 = CellOf<T>::load(x + 1);
    for (std::int64_t p = 0; p < pairs; ++p) {
      x += 2;
      const Wide<T> x2 = CellOf<T>::load(x), x3 = 2 * p + 1 < band.columns ? CellOf<T>::load(x + 1) : x1;
      CellOf<T>::template store<false>(to + p, difference_of(x0, x2));
      CellOf<T>::template store<false>(to + part + p, sum_of(x1, x2));
      CellOf<T>::template store<false>(to + 2 * part + p, difference_of(x2, x1));
      CellOf<T>::template store<false>(to + 3 * part + p, difference_of(x3, x1));
      x0 = x2;
      x1 = x3;
    }
  }
}

// The sums, then the differences, of the output gradients [first, first + count) of a band, in the same order.
template <class T>
void combine_gradients(const DenseGradJob& job, const DenseBand& band, const Cell* gy, std::int64_t count, Cell* to) {
  const std::int64_t pairs = (band.columns + 1) / 2, part = count * band.blocks * band.rows * pairs;
  for (std::int64_t i = 0; i < count * band.blocks * band.rows; ++i, to += pairs) {
    const std::int64_t channel = i / band.rows / band.blocks, block = i / band.rows % band.blocks;
    const Cell* from = gy + channel * job.gy_channel + block * job.gy_block + i % band.rows * job.gy_row;
    for (std::int64_t p = 0; p < pairs; ++p) {
      const Wide<T> d0 = CellOf<T>::load(from + 2 * p);
      const Wide<T> d1 = 2 * p + 1 < band.columns ? CellOf<T>::load(from + 2 * p + 1) : Wide<T>{};
      CellOf<T>::template store<false>(to + p, sum_of(d0, d1));
      CellOf<T>::template store<false>(to + part + p, difference_of(d0, d1));
    }
  }
}

// A band whose columns go in pairs: m0 and m3 of the output gradients as they are, every second of them.
template <class T>
void pair_band(const DenseGradJob& job, const DenseBand& band, const Cell* gy, std::int64_t first, std::int64_t count,
               Cell* scratch, float* sums) {
  const std::int64_t rows = rows_read(job, band), pairs = (band.columns + 1) / 2;
  const std::int64_t gradients = band.blocks * band.rows * pairs, inputs = band.blocks * rows * pairs;
  Cell* const combined = scratch + 2 * count * gradients;
  combine_gradients<T>(job, band, gy, count, scratch);
  for (std::int64_t channel = 0; channel < job.channels; channel += job.part_channels) {
    const std::int64_t left = job.channels - channel;
    const std::int64_t channels = left < job.part_channels ? left : job.part_channels;
    combine_inputs<T>(job, band, channel, channels, combined);
    for (int m = 0; m < kPairParts; ++m) {
      const Taps2d taps{combined + m * channels * inputs, channels, job.kernel_h, 1, inputs, job.dilation_h * pairs, 0};
      float* to = sums + (m * job.channels + channel) * job.kernel_h * job.outs + first;
      DenseWalk walk{band.blocks, band.rows, pairs, job.gy_block, job.gy_row, 2, rows * pairs, job.stride_h * pairs, 1};
      if (m == 1 || m == 2) {
        walk.gy_block = band.rows * pairs;
        walk.gy_row = pairs;
        walk.gy_column = 1;
        multiply_all<T>(walk, taps, scratch + (m - 1) * count * gradients, gradients, count, to, job.outs);
      } else {
        walk.columns = m == 0 ? pairs : band.columns / 2;
        multiply_all<T>(walk, taps, m == 0 ? gy : gy + 1, job.gy_channel, count, to, job.outs);
      }
    }
  }
}

template <class T>
void dense_bands(const DenseGradJob& job, std::int64_t first_band, std::int64_t last_band, std::int64_t first,
                 std::int64_t last, Cell* scratch, float* sums) {
  for (std::int64_t number = first_band; number < last_band; ++number) {
    const DenseBand band = dense_band(job, number);
    const Cell* gy = job.gy + band.block * job.gy_block + band.row * job.gy_row + band.column + first * job.gy_channel;
    if (job.in_pairs) {
      pair_band<T>(job, band, gy, first, last - first, scratch, sums);
    } else {
      const DenseWalk walk{band.blocks, band.rows, band.columns, job.gy_block,
                           job.gy_row,  1,         job.x_block,  job.x_row * job.stride_h,
                           job.stride_w};
      const Cell* x =
          job.x + band.block * job.x_block + band.row * job.stride_h * job.x_row + band.column * job.stride_w;
      const Taps2d taps{
          x, job.channels, job.kernel_h, job.kernel_w, job.x_channel, job.dilation_h * job.x_row, job.dilation_w};
      multiply_all<T>(walk, taps, gy, job.gy_channel, last - first, sums + first, job.outs);
    }
  }
}

void dense_grad(const DenseGradJob& job, std::int64_t first_band, std::int64_t last_band, std::int64_t first,
                std::int64_t last, Cell* scratch, float* sums) {
  with_type(job.dtype, [&](auto type) MEZZOTINT_INLINE {
    dense_bands<decltype(type)>(job, first_band, last_band, first, last, scratch, sums);
  });
}

}  // namespace
}  // namespace mezzotint
