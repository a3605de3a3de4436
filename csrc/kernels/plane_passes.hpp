// What happens between convolutions in the plane layout? Phases, maxima, averages, products and flattening.
#pragma once

#include <algorithm>

#include "kernels/halves.hpp"
#include "kernels/plane_gather.hpp"
#include "kernels/rows.hpp"

namespace mezzotint {
namespace {

// A cell that may lie between those of a plane.
template <class T>
inline MEZZOTINT_INLINE Wide<T> load_loose(const std::uint8_t* from) {
  Cell cell;
  __builtin_memcpy(&cell, from, sizeof cell);
  return CellOf<T>::load(&cell);
}

template <class T>
void plane_max_cells(const PlaneMaxJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  const std::uint8_t* x = pixels_of(job.x, 0, channel);
  std::uint8_t* y = pixels_of(job.y, 0, channel);
  for (std::int64_t cell = first; cell < last; ++cell) {
    const auto at = [&](std::int64_t tap)
                        MEZZOTINT_INLINE { return load_loose<T>(x + job.offsets[tap] + cell * kCellBytes); };
    Wide<T> best = at(0);
    for (std::int64_t tap = 1; tap < job.taps; ++tap) {
      each_vec(best, at(tap), [](Vec& v, Vec o) MEZZOTINT_INLINE { v = o > v || o != o ? o : v; });  // NaN wins
    }
    put_inside(cell_of(y, cell), best, job.inside, cell);
  }
  if (first == 0) {
    clear_borders(job.y, y, channel);
  }
}

// A window of stride 2 in both directions, read where its input lies.
template <class T>
void plane_max_halved(const PlaneMaxJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  const T* x = reinterpret_cast<const T*>(pixels_of(job.x, 0, channel));
  std::uint8_t* const pixels = pixels_of(job.y, 0, channel);
  T* const y = reinterpret_cast<T*>(pixels);
  each_row<T>(job.y, first, last, [&](std::int64_t row, std::int64_t column, std::int64_t at, std::int64_t numbers) {
    const std::int64_t inside = row < job.y.height ? std::clamp<std::int64_t>(job.y.width - column, 0, numbers) : 0;
    const T* const from = x + 2 * (row * job.x.pitch + column);
    for (std::int64_t i = 0; i < inside; i += kVecFloats) {
      const auto read = [&](std::int64_t tap) MEZZOTINT_INLINE {
        return every_second(
            reinterpret_cast<const T*>(reinterpret_cast<const std::uint8_t*>(from + 2 * i) + job.offsets[tap]));
      };
      Vec best = read(0);
      for (std::int64_t tap = 1; tap < job.taps; ++tap) {
        const Vec other = read(tap);
        best = other > best || other != other ? other : best;  // NaN wins
      }
      put_some(best, y + at + i, inside - i);
    }
    fill_pixels(y + at + inside, numbers - inside, T{});
  });
  if (first == 0) {
    clear_borders(job.y, pixels, channel);
  }
}

void plane_max(const PlaneMaxJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  const bool half = job.y.dtype == Dtype::kBFloat16;
  if (job.halved) {
    half ? plane_max_halved<BFloat16>(job, channel, first, last) : plane_max_halved<float>(job, channel, first, last);
  } else {
    half ? plane_max_cells<BFloat16>(job, channel, first, last) : plane_max_cells<float>(job, channel, first, last);
  }
}

template <class T>
void copy_number(T from, T& to) {
  to = from;
}
void copy_number(float from, BFloat16& to) {
  narrow(from, to);
}

// Steps of 1 and 2 are code of their own, so that the compiler can use vectors.
template <class From, class To, int kStep>
void take_every(const From* __restrict from, std::int64_t step, To* __restrict to, std::int64_t count) {
  const std::int64_t wide = kStep ? kStep : step;
  for (std::int64_t i = 0; i < count; ++i) {
    copy_number(from[i * wide], to[i]);
  }
}

constexpr std::int64_t kChunk = 16;
typedef std::uint32_t LooseHalves __attribute__((aligned(2), may_alias));

// The lower halves of pairs of 16-bit numbers, in whole chunks: up to kChunk - 1 more than asked for are read and
// written, so that short rows need no loop for a rest.
void take_lower(const BFloat16* __restrict from, BFloat16* __restrict to, std::int64_t count) {
  const auto* const pairs = reinterpret_cast<const LooseHalves*>(from);
  for (std::int64_t first = 0; first < count; first += kChunk) {
    for (std::int64_t i = 0; i < kChunk; ++i) {
      to[first + i].bits = static_cast<std::uint16_t>(pairs[first + i]);
    }
  }
}

// FP32 to BF16, of step 1 or 2, in whole vectors: the last one takes again what the one before took, and nothing behind
// the last number is read.
template <int kStep>
void narrow_row(const float* from, BFloat16* to, std::int64_t count) {
  for (std::int64_t i = 0; i + kVecFloats < count; i += kVecFloats) {
    put_rounded(kStep == 1 ? *reinterpret_cast<const LooseVec*>(from + i) : every_second(from + 2 * i), to + i);
  }
  const std::int64_t last = count - kVecFloats;
  put_rounded(kStep == 1 ? *reinterpret_cast<const LooseVec*>(from + last) : every_second<1>(from + 2 * last - 1),
              to + last);
}

// room: numbers from `to` on that may be written; what lies behind a row of planes may be read.
template <class From, class To>
void split_row(const From* from, std::int64_t step, To* to, std::int64_t count, std::int64_t room) {
  if constexpr (sizeof(From) == sizeof(BFloat16)) {
    if (step == 2 && (count + kChunk - 1) / kChunk * kChunk <= room) {
      return take_lower(from, to, count);
    }
  }
  if constexpr (sizeof(From) > sizeof(To)) {
    if (count > kVecFloats && step <= 2) {
      return step == 1 ? narrow_row<1>(from, to, count) : narrow_row<2>(from, to, count);
    }
  }
  step == 1   ? take_every<From, To, 1>(from, step, to, count)
  : step == 2 ? take_every<From, To, 2>(from, step, to, count)
              : take_every<From, To, 0>(from, step, to, count);
}

template <class From, class To>
void plane_split_cells(const PlaneSplitJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  const std::int64_t phase = channel / job.channels;
  const std::int64_t a = phase / job.stride_w, b = phase % job.stride_w;
  const std::int64_t rows = (job.height - a + job.stride_h - 1) / job.stride_h;
  const std::int64_t columns = (job.width - b + job.stride_w - 1) / job.stride_w;
  const std::int64_t step = job.stride_w * job.column;
  const From* x = static_cast<const From*>(job.x) + channel % job.channels * job.channel + a * job.row + b * job.column;
  To* const y = reinterpret_cast<To*>(pixels_of(job.y, 0, channel));
  To fill;
  narrow(job.fill, fill);
  if (first == 0) {
    fill_pixels(y - job.y.lead, job.y.lead, fill);
  }
  const std::int64_t end = last * kCellBytes / static_cast<std::int64_t>(sizeof(To));
  each_row<To>(job.y, first, last, [&](std::int64_t row, std::int64_t column, std::int64_t at, std::int64_t numbers) {
    const std::int64_t count = row < rows ? std::clamp<std::int64_t>(columns - column, 0, numbers) : 0;
    split_row(x + row * job.stride_h * job.row + column * step, step, y + at, count, job.in_planes ? end - at : 0);
    fill_pixels(y + at + count, numbers - count, fill);
  });
  if (last == plane_cells(job.y)) {
    const std::int64_t behind = channel + 1 == job.y.channels ? job.y.lead : 0;
    fill_pixels(y + end, job.y.stride - job.y.lead - end + behind, fill);
  }
}

void plane_split(const PlaneSplitJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  if (job.y.dtype == Dtype::kFloat32) {
    plane_split_cells<float, float>(job, channel, first, last);
  } else if (job.x_dtype == Dtype::kFloat32) {
    plane_split_cells<float, BFloat16>(job, channel, first, last);
  } else {
    plane_split_cells<BFloat16, BFloat16>(job, channel, first, last);
  }
}

// A factor of 2 is code of its own, so that the compiler can use vectors.
template <class T, int kFactor>
void spread_row(const T* __restrict from, std::int64_t factor, T* __restrict to, std::int64_t count) {
  const std::int64_t times = kFactor ? kFactor : factor;
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < times; ++j) {
      to[i * times + j] = from[i];
    }
  }
}

template <class T>
void plane_spread_rows(const PlaneSpreadJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  const T* x = reinterpret_cast<const T*>(pixels_of(job.x, 0, channel)) + first * job.x.pitch;
  std::uint8_t* const pixels = pixels_of(job.y, 0, channel);
  T* y = reinterpret_cast<T*>(pixels) + first * job.factor_h * job.y.pitch;
  const auto spare = static_cast<std::size_t>(job.y.pitch - job.y.width) * sizeof(T);
  for (std::int64_t h = first; h < last; ++h, x += job.x.pitch) {
    T* const row = y;
    job.factor_w == 2 ? spread_row<T, 2>(x, 2, row, job.x.width) : spread_row<T, 0>(x, job.factor_w, row, job.x.width);
    __builtin_memset(row + job.y.width, 0, spare);
    y += job.y.pitch;
    for (std::int64_t i = 1; i < job.factor_h; ++i, y += job.y.pitch) {
      __builtin_memcpy(y, row, static_cast<std::size_t>(job.y.pitch) * sizeof(T));
    }
  }
  if (first == 0) {
    clear_borders(job.y, pixels, channel);
  }
  if (last == job.x.height) {
    const auto* const end = reinterpret_cast<const T*>(pixels + plane_cells(job.y) * kCellBytes);
    __builtin_memset(y, 0, static_cast<std::size_t>(end - y) * sizeof(T));
  }
}

void plane_spread(const PlaneSpreadJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  job.y.dtype == Dtype::kBFloat16 ? plane_spread_rows<BFloat16>(job, channel, first, last)
                                  : plane_spread_rows<float>(job, channel, first, last);
}

// One factor for all pixels of an image; of several images abreast, whose rows fill a cell, each has its own.
template <class T>
Wide<T> factors_of_row(const PlaneProductJob& job, const std::uint8_t* factor) {
  Cell row;
  const std::int64_t lanes = kCellBytes / static_cast<std::int64_t>(sizeof(T)), count = lanes / job.y.abreast;
  for (std::int64_t image = 0; image < job.y.abreast; ++image, factor += job.factor.image) {
    fill_pixels(reinterpret_cast<T*>(&row) + image * count, count, *reinterpret_cast<const T*>(factor));
  }
  return CellOf<T>::load(&row);
}

template <class T>
void plane_product_cells(const PlaneProductJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  const std::uint8_t* x = pixels_of(job.x, 0, channel);
  const std::uint8_t* factor = pixels_of(job.factor, 0, channel);
  std::uint8_t* y = pixels_of(job.y, 0, channel);
  Wide<T> factors = job.one_factor ? factors_of_row<T>(job, factor) : Wide<T>{};
  for (std::int64_t cell = first; cell < last; ++cell) {
    Wide<T> product = CellOf<T>::load(cell_of(x, cell));
    if (!job.one_factor) {
      factors = CellOf<T>::load(cell_of(factor, cell));
    }
    each_vec(product, factors, [](Vec& v, Vec f) MEZZOTINT_INLINE { v *= f; });
    activate(job.after, [&](const auto& change) MEZZOTINT_INLINE { each_vec(product, change); });
    put_inside(cell_of(y, cell), product, job.inside, cell);
  }
  if (first == 0) {
    clear_borders(job.y, y, channel);
  }
}

void plane_product(const PlaneProductJob& job, std::int64_t channel, std::int64_t first, std::int64_t last) {
  job.y.dtype == Dtype::kBFloat16 ? plane_product_cells<BFloat16>(job, channel, first, last)
                                  : plane_product_cells<float>(job, channel, first, last);
}

template <class T>
void plane_average_channel(const PlaneAverageJob& job, std::int64_t channel) {
  const std::uint8_t* x = pixels_of(job.x, 0, channel);
  Wide<T> sum = {};
  for (std::int64_t cell = 0; cell < plane_cells(job.x); ++cell) {  // what is no pixel is zero
    each_vec(sum, CellOf<T>::load(cell_of(x, cell)), [](Vec& v, Vec o) MEZZOTINT_INLINE { v += o; });
  }
  if (job.x.abreast > 1) {
    each_vec(sum, CellOf<T>::load(static_cast<const Cell*>(job.row)),
             [](Vec& v, Vec m) MEZZOTINT_INLINE { v = m > 0.0f ? v : Vec{}; });
  }
  Vec all = {};
  each_vec(sum, [&](Vec& v) MEZZOTINT_INLINE { all += v; });
  std::uint8_t* y = pixels_of(job.y, 0, channel);
  clear(y, plane_cells(job.y));
  clear_borders(job.y, y, channel);
  narrow(sum_of(all) / static_cast<float>(job.x.height * image_width(job.x)), *reinterpret_cast<T*>(y));
}

void plane_average(const PlaneAverageJob& job, std::int64_t channel, std::int64_t /*first*/, std::int64_t /*last*/) {
  job.x.dtype == Dtype::kBFloat16 ? plane_average_channel<BFloat16>(job, channel)
                                  : plane_average_channel<float>(job, channel);
}

template <class From, class To>
void plane_flatten_channel(const PlaneFlattenJob& job, std::int64_t channel) {
  const From* x = reinterpret_cast<const From*>(pixels_of(job.x, 0, channel));
  To* y = static_cast<To*>(job.y) + channel * job.channel;
  for (std::int64_t h = 0; h < job.x.height; ++h) {
    for (std::int64_t w = 0; w < job.x.width; ++w) {
      narrow(widen(x[h * job.x.pitch + w]), y[h * job.row + w * job.column]);
    }
  }
}

void plane_flatten(const PlaneFlattenJob& job, std::int64_t channel) {
  if (job.x.dtype == Dtype::kFloat32) {
    plane_flatten_channel<float, float>(job, channel);
  } else if (job.y_dtype == Dtype::kFloat32) {
    plane_flatten_channel<BFloat16, float>(job, channel);
  } else {
    plane_flatten_channel<BFloat16, BFloat16>(job, channel);
  }
}

}  // namespace
}  // namespace mezzotint
