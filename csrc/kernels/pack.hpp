// How do tensors get into the native layout and out of it? A transposition of the images against a contiguous axis, in
// squares of 8 x 8 or 4 x 4 elements of the same type on both sides.
//
// Fast paths: W contiguous (NCHW) and C contiguous (channels_last, linear layers); any other strides element by
// element.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/square.hpp"
#include "kernels/zero.hpp"

namespace mezzotint {
namespace {

// A run: `length` elements, contiguous in the tensor, of up to `lanes` images; element i is the cell at cells + i *
// step. T is float, or the 16 bits of a BF16 or FP16 number.
template <class T>
struct Run {
  T* tensor;
  std::int64_t image;   // elements from one image to the next
  std::int64_t images;  // 1 .. lanes
  Cell* cells;
  std::int64_t step;  // cells from one element to the next
};

template <class T>
constexpr int kImages = static_cast<int>(kCellBytes / sizeof(T));

template <class T>
inline MEZZOTINT_INLINE T* images_of(const Run<T>& run, std::int64_t element) {
  return reinterpret_cast<T*>(run.cells + element * run.step);
}

template <int kWidth, class T>
inline MEZZOTINT_INLINE void pack_square(const Run<T>& run, std::int64_t at) {
  for (int first = 0; first < kImages<T>; first += kWidth) {
    Square<T, kWidth> m;
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      const std::int64_t image = first + i;
      m.row[i] = image < run.images ? load_row<T, kWidth>(run.tensor + image * run.image + at) : RowOf<T, kWidth>{};
    }
    transpose(m);
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      store_row<T, kWidth>(images_of(run, at + i) + first, m.row[i]);
    }
  }
}

template <int kWidth, class T>
inline MEZZOTINT_INLINE void unpack_square(const Run<T>& run, std::int64_t at) {
  for (int first = 0; first < kImages<T>; first += kWidth) {
    Square<T, kWidth> m;
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      m.row[i] = load_row<T, kWidth>(images_of(run, at + i) + first);
    }
    transpose(m);
#pragma GCC unroll 8
    for (int i = 0; i < kWidth; ++i) {
      if (first + i < run.images) {
        store_row<T, kWidth>(run.tensor + (first + i) * run.image + at, m.row[i]);
      }
    }
  }
}

// One element of all images.
template <class T>
inline MEZZOTINT_INLINE void pack_cell(const Run<T>& run) {
  T* cell = images_of(run, 0);
  for (std::int64_t i = 0; i < kImages<T>; ++i) {
    cell[i] = i < run.images ? run.tensor[i * run.image] : T{};
  }
}

template <class T>
inline MEZZOTINT_INLINE void unpack_cell(const Run<T>& run) {
  const T* cell = images_of(run, 0);
  for (std::int64_t i = 0; i < run.images; ++i) {
    run.tensor[i * run.image] = cell[i];
  }
}

// Covers [0, length) with squares of kWidth; the last one overlaps its neighbour, which writes the same values twice.
template <int kWidth, class OnSquare>
inline MEZZOTINT_INLINE void cover(std::int64_t length, OnSquare on_square) {
  for (std::int64_t at = 0; at + kWidth <= length; at += kWidth) {
    on_square(at);
  }
  if (length % kWidth) {
    on_square(length - kWidth);
  }
}

template <bool kInto, int kWidth, class T>
inline MEZZOTINT_INLINE void copy_squares(const Run<T>& run, std::int64_t length) {
  cover<kWidth>(length, [&](std::int64_t at) MEZZOTINT_INLINE {
    if constexpr (kInto) {
      pack_square<kWidth>(run, at);
    } else {
      unpack_square<kWidth>(run, at);
    }
  });
}

// kInto: from the tensor into the cells, else back.
template <bool kInto, class T>
void copy_run(Run<T> run, std::int64_t length) {
  if (length >= 8) {
    return copy_squares<kInto, 8>(run, length);
  }
  if (length >= 4) {
    return copy_squares<kInto, 4>(run, length);
  }
  for (std::int64_t at = 0; at < length; ++at, ++run.tensor, run.cells += run.step) {
    if constexpr (kInto) {
      pack_cell(run);
    } else {
      unpack_cell(run);
    }
  }
}

// One interior row, cut into runs along the contiguous axis, or into single cells.
template <bool kInto, class T>
void copy_row(const PackJob& job, std::int64_t block, std::int64_t row) {
  const Tensor& t = job.tensor;
  const Packed& p = job.packed;
  const std::int64_t left = t.n - block * kImages<T>;
  T* base = static_cast<T*>(t.data) + block * kImages<T> * t.stride_n + row * t.stride_h;
  Run<T> run{base, t.stride_n, left < kImages<T> ? left : kImages<T>, cell_at(p, block, row, 0, 0), 1};
  if (t.stride_w == 1 && t.w >= 4) {
    for (std::int64_t c = 0; c < t.c; ++c, run.tensor += t.stride_c, run.cells += p.channel) {
      copy_run<kInto>(run, t.w);
    }
  } else if (t.stride_c == 1) {
    run.step = p.channel;
    for (std::int64_t w = 0; w < t.w; ++w, run.tensor += t.stride_w, run.cells += 1) {
      copy_run<kInto>(run, t.c);
    }
  } else {
    for (std::int64_t c = 0; c < t.c; ++c) {
      for (std::int64_t w = 0; w < t.w; ++w) {
        run.tensor = base + c * t.stride_c + w * t.stride_w;
        run.cells = cell_at(p, block, row, c, w);
        copy_run<kInto>(run, 1);
      }
    }
  }
}

template <bool kInto>
void copy_row(const PackJob& job, std::int64_t block, std::int64_t row) {
  if (job.packed.dtype == Dtype::kFloat32) {
    copy_row<kInto, float>(job, block, row);
  } else {
    copy_row<kInto, std::uint16_t>(job, block, row);
  }
}

void pack_row(const PackJob& job, std::int64_t block, std::int64_t stored_row) {
  const std::int64_t row = stored_row - job.packed.halo.top;
  if (zero_halo(job.packed, block, row)) {
    copy_row<true>(job, block, row);
  }
}

void unpack_row(const PackJob& job, std::int64_t block, std::int64_t row) {
  copy_row<false>(job, block, row);
}

}  // namespace
}  // namespace mezzotint
