// How do tensors get into the native layout and out of it? A transposition of 16 images against a contiguous axis,
// with the conversion of the element type on the way.
//
// Fast paths: W contiguous (NCHW) and C contiguous (channels_last, linear layers); any other strides element by
// element.
#pragma once

#include "kernels/convert.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {
namespace {

constexpr int kWide = kVecFloats >= 8 ? 8 : 4;  // elements of the wide transposition

// A run: `length` elements, contiguous in the tensor, of up to 16 images; element i is the cell at cells + i * step.
template <class T>
struct Run {
  T* tensor;
  std::int64_t image;   // elements from one image to the next
  std::int64_t images;  // 1 .. 16
  float* cells;
  std::int64_t step;  // floats from one cell to the next
};

template <int kWidth, class T>
inline MEZZOTINT_INLINE void pack_square(const Run<T>& run, std::int64_t at) {
#pragma GCC unroll 4
  for (int first = 0; first < kLanes; first += kWidth) {
    typename VectorOf<kWidth>::Float m[kWidth];
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      const std::int64_t image = first + i;
      m[i] =
          image < run.images ? read<kWidth>(run.tensor + image * run.image + at) : typename VectorOf<kWidth>::Float{};
    }
    transpose(m);
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      write<kWidth>(run.cells + (at + i) * run.step + first, m[i]);
    }
  }
}

template <int kWidth, class T>
inline MEZZOTINT_INLINE void unpack_square(const Run<T>& run, std::int64_t at) {
#pragma GCC unroll 4
  for (int first = 0; first < kLanes; first += kWidth) {
    typename VectorOf<kWidth>::Float m[kWidth];
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      m[i] = read<kWidth>(run.cells + (at + i) * run.step + first);
    }
    transpose(m);
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      if (first + i < run.images) {
        write<kWidth>(run.tensor + (first + i) * run.image + at, m[i]);
      }
    }
  }
}

// One element of all images: tensor elements `stride` apart on one side, a cell on the other.
template <class T>
inline MEZZOTINT_INLINE void pack_cell(const T* from, std::int64_t image, std::int64_t images, float* cell) {
  for (std::int64_t i = 0; i < images; ++i) {
    cell[i] = widen(from[i * image]);
  }
  for (std::int64_t i = images; i < kLanes; ++i) {
    cell[i] = 0.0f;
  }
}

template <class T>
inline MEZZOTINT_INLINE void unpack_cell(T* to, std::int64_t image, std::int64_t images, const float* cell) {
  for (std::int64_t i = 0; i < images; ++i) {
    narrow(cell[i], to[i * image]);
  }
}

// Covers [0, length) with squares of kWidth; the last one overlaps its neighbour, which writes the same values twice.
template <int kWidth, class Square>
inline MEZZOTINT_INLINE void cover(std::int64_t length, Square square) {
  for (std::int64_t at = 0; at + kWidth <= length; at += kWidth) {
    square(at);
  }
  if (length % kWidth) {
    square(length - kWidth);
  }
}

template <class T>
void pack_run(const Run<T>& run, std::int64_t length) {
  if (length >= kWide) {
    cover<kWide>(length, [&](std::int64_t at) MEZZOTINT_INLINE { pack_square<kWide>(run, at); });
  } else if (length >= 4) {
    cover<4>(length, [&](std::int64_t at) MEZZOTINT_INLINE { pack_square<4>(run, at); });
  } else {
    for (std::int64_t at = 0; at < length; ++at) {
      pack_cell(run.tensor + at, run.image, run.images, run.cells + at * run.step);
    }
  }
}

template <class T>
void unpack_run(const Run<T>& run, std::int64_t length) {
  if (length >= kWide) {
    cover<kWide>(length, [&](std::int64_t at) MEZZOTINT_INLINE { unpack_square<kWide>(run, at); });
  } else if (length >= 4) {
    cover<4>(length, [&](std::int64_t at) MEZZOTINT_INLINE { unpack_square<4>(run, at); });
  } else {
    for (std::int64_t at = 0; at < length; ++at) {
      unpack_cell(run.tensor + at, run.image, run.images, run.cells + at * run.step);
    }
  }
}

// What both directions do with one interior row: cut it into runs along the contiguous axis, or into single cells.
template <class T, class OnRun, class OnCell>
inline MEZZOTINT_INLINE void walk_row(const PackJob& job, std::int64_t block, std::int64_t row, OnRun on_run,
                                      OnCell on_cell) {
  const Tensor& t = job.tensor;
  const Packed& p = job.packed;
  const std::int64_t left = t.n - block * kLanes;
  T* base = static_cast<T*>(t.data) + block * kLanes * t.stride_n + row * t.stride_h;
  Run<T> run{base, t.stride_n, left < kLanes ? left : kLanes, cell_at(p, block, row, 0, 0), kLanes};
  if (t.stride_w == 1 && t.w >= 4) {
    for (std::int64_t c = 0; c < t.c; ++c, run.tensor += t.stride_c, run.cells += p.channel * kLanes) {
      on_run(run, t.w);
    }
  } else if (t.stride_c == 1) {
    run.step = p.channel * kLanes;
    for (std::int64_t w = 0; w < t.w; ++w, run.tensor += t.stride_w, run.cells += kLanes) {
      on_run(run, t.c);
    }
  } else {
    for (std::int64_t c = 0; c < t.c; ++c) {
      for (std::int64_t w = 0; w < t.w; ++w) {
        on_cell(base + c * t.stride_c + w * t.stride_w, run.image, run.images,
                run.cells + (c * p.channel + w) * kLanes);
      }
    }
  }
}

void zero(float* cells, std::int64_t count) {
  __builtin_memset(cells, 0, static_cast<std::size_t>(count * kLanes) * sizeof(float));
}

void zero_sides(const Packed& p, std::int64_t block, std::int64_t row) {
  for (std::int64_t c = 0; c < p.channels; ++c) {
    zero(cell_at(p, block, row, c, -p.halo.left), p.halo.left);
    zero(cell_at(p, block, row, c, p.width), p.halo.right);
  }
}

template <class T>
void pack_interior(const PackJob& job, std::int64_t block, std::int64_t row) {
  walk_row<T>(
      job, block, row, [](const Run<T>& run, std::int64_t length) { pack_run(run, length); },
      [](const T* from, std::int64_t image, std::int64_t images, float* cell) {
        pack_cell(from, image, images, cell);
      });
}

template <class T>
void unpack_interior(const PackJob& job, std::int64_t block, std::int64_t row) {
  walk_row<T>(
      job, block, row, [](const Run<T>& run, std::int64_t length) { unpack_run(run, length); },
      [](T* to, std::int64_t image, std::int64_t images, const float* cell) { unpack_cell(to, image, images, cell); });
}

void pack_row(const PackJob& job, std::int64_t block, std::int64_t stored_row) {
  const Packed& p = job.packed;
  const std::int64_t row = stored_row - p.halo.top;
  if (row < 0 || row >= p.height) {
    zero(cell_at(p, block, row, 0, -p.halo.left), p.row);
    return;
  }
  zero_sides(p, block, row);
  switch (job.tensor.dtype) {
    case Dtype::kBFloat16:
      return pack_interior<BFloat16>(job, block, row);
    case Dtype::kFloat16:
      return pack_interior<Float16>(job, block, row);
    default:
      return pack_interior<float>(job, block, row);
  }
}

void unpack_row(const PackJob& job, std::int64_t block, std::int64_t row) {
  switch (job.tensor.dtype) {
    case Dtype::kBFloat16:
      return unpack_interior<BFloat16>(job, block, row);
    case Dtype::kFloat16:
      return unpack_interior<Float16>(job, block, row);
    default:
      return unpack_interior<float>(job, block, row);
  }
}

}  // namespace
}  // namespace mezzotint
