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

template <bool kStream>
inline MEZZOTINT_INLINE void put_zeros(Cell* from, const Cell* end) {
  for (Bits* at = reinterpret_cast<Bits*>(from); at != reinterpret_cast<const Bits*>(end); ++at) {
    put<kStream>(at, Bits{});
  }
}

// The coefficients of one channel.
struct Affine {
  Vec scale, shift;
  MEZZOTINT_INLINE Affine(const float* scales, const float* shifts, std::int64_t channel)
      : scale(broadcast(scales ? scales[channel] : 1.0f)), shift(broadcast(shifts ? shifts[channel] : 0.0f)) {}
};

// One channel of a row. kOperands: x; and other; and the addend.
template <class T, int kOperands, bool kRelu, bool kStream>
inline MEZZOTINT_INLINE void normalise_run(const NormaliseJob& job, std::int64_t block, std::int64_t row,
                                           std::int64_t channel, Cell* z) {
  const Cell* const x = cell_at(job.x, block, row, channel, 0);
  const Cell* const other = kOperands >= 2 ? cell_at(job.other, block, row, channel, 0) : nullptr;
  const Cell* const addend = kOperands >= 3 ? cell_at(job.addend, block, row, channel, 0) : nullptr;
  const Affine on_x(job.scale, job.shift, channel), on_other(job.other_scale, job.other_shift, channel);
  const std::int64_t width = job.z.width;
  for (std::int64_t w = 0; w < width; ++w) {
    Wide<T> sum = CellOf<T>::load(x + w);
    each_vec(sum, [&](Vec& v) MEZZOTINT_INLINE { v = v * on_x.scale + on_x.shift; });
    if constexpr (kOperands >= 2) {
      each_vec(sum, CellOf<T>::load(other + w),
               [&](Vec& v, Vec o) MEZZOTINT_INLINE { v += o * on_other.scale + on_other.shift; });
    }
    if constexpr (kOperands >= 3) {
      each_vec(sum, CellOf<T>::load(addend + w), [](Vec& v, Vec a) MEZZOTINT_INLINE { v += a; });
    }
    if constexpr (kRelu) {
      each_vec(sum, [](Vec& v) MEZZOTINT_INLINE { v = v < 0.0f ? Vec{} : v; });  // keeps NaN
    }
    CellOf<T>::template store<kStream>(z + w, sum);
  }
}

// All channels of a row with what lies left and right of it, cell after cell, in one function: a write around the
// caches followed by an ordinary one, such as a call's arguments on the stack, waits for the memory.
template <class T, int kOperands, bool kRelu, bool kStream>
void normalise_channels(const NormaliseJob& job, std::int64_t block, std::int64_t row) {
  const std::int64_t images = job.batch - block * (kCellBytes / static_cast<std::int64_t>(sizeof(T)));
  const bool ragged = images < kCellBytes / static_cast<std::int64_t>(sizeof(T));
  const Cell lanes = lanes_below<T>(images);
  for (std::int64_t c = 0; c < job.z.channels; ++c) {
    Cell* const z = cell_at(job.z, block, row, c, 0);
    Cell* const end = z + job.z.width;
    put_zeros<kStream>(z - job.z.halo.left, z);
    normalise_run<T, kOperands, kRelu, kStream>(job, block, row, c, z);
    put_zeros<kStream>(end, end + job.z.halo.right);
    for (std::int64_t w = 0; ragged && w < job.z.width; ++w) {
      keep(z + w, lanes);
    }
  }
  if (kStream) {
    fence();
  }
}

using NormaliseFunction = void (*)(const NormaliseJob&, std::int64_t, std::int64_t);

template <class T, int kOperands>
NormaliseFunction find_normalise(bool relu, bool stream) {
  return relu ? stream ? &normalise_channels<T, kOperands, true, true> : &normalise_channels<T, kOperands, true, false>
         : stream ? &normalise_channels<T, kOperands, false, true>
                  : &normalise_channels<T, kOperands, false, false>;
}

template <class T>
void normalise(const NormaliseJob& job, std::int64_t block, std::int64_t row) {
  const bool whole = job.batch >= (block + 1) * (kCellBytes / static_cast<std::int64_t>(sizeof(T)));
  const bool stream = job.stream && whole;
  const NormaliseFunction run = job.addend.data  ? find_normalise<T, 3>(job.relu, stream)
                                : job.other.data ? find_normalise<T, 2>(job.relu, stream)
                                                 : find_normalise<T, 1>(job.relu, stream);
  run(job, block, row);
}

void normalise_row(const NormaliseJob& job, std::int64_t block, std::int64_t stored_row) {
  const std::int64_t row = stored_row - job.z.halo.top;
  if (zero_outside(job.z, block, row, 0, job.z.channels)) {
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
