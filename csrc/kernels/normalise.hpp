// How do the passes between convolutions go? Batch norm, residual sums and ReLU in one pass over a row, forward and
// backward, and the reductions of a batch norm where no convolution could do them on the way.
#pragma once

#include "kernels/epilogue.hpp"
#include "kernels/jobs.hpp"
#include "kernels/zero.hpp"

namespace mezzotint {
namespace {

// All bits of the first `images` lanes of a cell of T.
template <class T>
Cell lanes_below(std::int64_t images) {
  Cell cell;
  for (std::int64_t i = 0; i < kCellBytes; ++i) {
    cell.bytes[i] = i / static_cast<std::int64_t>(sizeof(T)) < images ? 0xff : 0;
  }
  return cell;
}

inline MEZZOTINT_INLINE void keep(Cell* cell, const Cell& lanes) {
  Bits* at = reinterpret_cast<Bits*>(cell);
  const Bits* mask = reinterpret_cast<const Bits*>(&lanes);
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < 16 / kVecFloats; ++i) {
    at[i] &= mask[i];
  }
}

// The coefficients of one channel.
struct Affine {
  Vec scale, shift;
  MEZZOTINT_INLINE Affine(const float* scales, const float* shifts, std::int64_t channel)
      : scale(broadcast(scales ? scales[channel] : 1.0f)), shift(broadcast(shifts ? shifts[channel] : 0.0f)) {}
};

// The operands of one channel in one row.
struct NormaliseRun {
  const Cell* x;
  const Cell* other;
  const Cell* addend;
  Cell* z;
  std::int64_t width;
  Affine on_x, on_other;
};

// kOperands: x; and other; and the addend.
template <class T, int kOperands, bool kRelu, bool kStream>
void normalise_run(const NormaliseRun& run) {
  for (std::int64_t w = 0; w < run.width; ++w) {
    Wide<T> sum = CellOf<T>::load(run.x + w);
    each_vec(sum, [&](Vec& v) MEZZOTINT_INLINE { v = v * run.on_x.scale + run.on_x.shift; });
    if constexpr (kOperands >= 2) {
      each_vec(sum, CellOf<T>::load(run.other + w),
               [&](Vec& v, Vec o) MEZZOTINT_INLINE { v += o * run.on_other.scale + run.on_other.shift; });
    }
    if constexpr (kOperands >= 3) {
      each_vec(sum, CellOf<T>::load(run.addend + w), [](Vec& v, Vec a) MEZZOTINT_INLINE { v += a; });
    }
    if constexpr (kRelu) {
      each_vec(sum, [](Vec& v) MEZZOTINT_INLINE { v = v < 0.0f ? Vec{} : v; });  // keeps NaN
    }
    CellOf<T>::template store<kStream>(run.z + w, sum);
  }
}

using NormaliseFunction = void (*)(const NormaliseRun&);

template <class T, int kOperands>
NormaliseFunction find_normalise(bool relu, bool stream) {
  return relu     ? stream ? &normalise_run<T, kOperands, true, true> : &normalise_run<T, kOperands, true, false>
             : stream ? &normalise_run<T, kOperands, false, true>
                  : &normalise_run<T, kOperands, false, false>;
}

template <class T>
NormaliseFunction find_normalise(const NormaliseJob& job, bool stream) {
  return job.addend.data  ? find_normalise<T, 3>(job.relu, stream)
         : job.other.data ? find_normalise<T, 2>(job.relu, stream)
                          : find_normalise<T, 1>(job.relu, stream);
}

const Cell* row_of(const Packed& view, std::int64_t block, std::int64_t row, std::int64_t channel) {
  return view.data ? cell_at(view, block, row, channel, 0) : nullptr;
}

template <class T>
void normalise(const NormaliseJob& job, std::int64_t block, std::int64_t row) {
  const std::int64_t images = job.batch - block * (kCellBytes / static_cast<std::int64_t>(sizeof(T)));
  const bool ragged = images < kCellBytes / static_cast<std::int64_t>(sizeof(T));
  const Cell lanes = lanes_below<T>(images);
  const NormaliseFunction run = find_normalise<T>(job, job.stream && !ragged);
  for (std::int64_t c = 0; c < job.z.channels; ++c) {
    Cell* z = cell_at(job.z, block, row, c, 0);
    run({row_of(job.x, block, row, c), row_of(job.other, block, row, c), row_of(job.addend, block, row, c), z,
         job.z.width, Affine(job.scale, job.shift, c), Affine(job.other_scale, job.other_shift, c)});
    for (std::int64_t w = 0; ragged && w < job.z.width; ++w) {
      keep(z + w, lanes);
    }
  }
  if (job.stream) {
    fence();
  }
}

void normalise_row(const NormaliseJob& job, std::int64_t block, std::int64_t stored_row) {
  const std::int64_t row = stored_row - job.z.halo.top;
  if (!zero_halo(job.z, block, row)) {
    return;
  }
  with_type(job.z.dtype, [&](auto type) MEZZOTINT_INLINE { normalise<decltype(type)>(job, block, row); });
}

template <class T, bool kMask, bool kWrite>
void reduce_run(const ReduceJob& job, std::int64_t block, std::int64_t row, std::int64_t c, float* sums) {
  const Cell* x = cell_at(job.x, block, row, c, 0);
  const Cell* mask = kMask ? cell_at(job.mask, block, row, c, 0) : nullptr;
  const Cell* companion = job.companion.data ? cell_at(job.companion, block, row, c, 0) : nullptr;
  Cell* masked = kWrite ? cell_at(job.masked, block, row, c, 0) : nullptr;
  const Affine affine(job.mask_scale, job.mask_shift, c);
  Vec first[2] = {}, second[2] = {};
  for (std::int64_t w = 0; w < job.x.width; ++w) {
    Wide<T> value = CellOf<T>::load(x + w);
    if constexpr (kMask) {
      each_vec(value, CellOf<T>::load(mask + w), [&](Vec& v, Vec m) MEZZOTINT_INLINE {
        v = m * affine.scale + affine.shift <= 0.0f ? Vec{} : v;  // keeps NaN
      });
    }
    if constexpr (kWrite) {
      CellOf<T>::template store<false>(masked + w, value);
    }
    const Wide<T> other = companion ? CellOf<T>::load(companion + w) : value;
    int turn = 0;
    each_vec(value, other, [&](Vec& v, Vec o) MEZZOTINT_INLINE {
      first[turn] += v;
      second[turn] += v * o;
      turn ^= 1;
    });
  }
  if (sums) {
    sums[0] = total(first[0] + first[1]);
    sums[1] = total(second[0] + second[1]);
  }
}

template <class T>
void reduce(const ReduceJob& job, std::int64_t block, std::int64_t row) {
  const bool mask = job.mask.data != nullptr, write = job.masked.data != nullptr;
  for (std::int64_t c = 0; c < job.x.channels; ++c) {
    float* sums = job.sums ? job.sums + ((block * job.x.height + row) * job.x.channels + c) * 2 : nullptr;
    if (mask && write) {
      reduce_run<T, true, true>(job, block, row, c, sums);
    } else if (mask) {
      reduce_run<T, true, false>(job, block, row, c, sums);
    } else if (write) {
      reduce_run<T, false, true>(job, block, row, c, sums);
    } else {
      reduce_run<T, false, false>(job, block, row, c, sums);
    }
  }
}

void reduce_row(const ReduceJob& job, std::int64_t block, std::int64_t row) {
  with_type(job.x.dtype, [&](auto type) MEZZOTINT_INLINE { reduce<decltype(type)>(job, block, row); });
}

}  // namespace
}  // namespace mezzotint
