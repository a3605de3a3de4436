// How is the maximum of windows found? Over whole rows first, then over the columns of the row that results.
//
// Windows arrive as lists of the positions inside of the image, so strides, dilations and borders are nothing but lists
// here and in pool_grad.hpp.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/normalise.hpp"
#include "kernels/ordered.hpp"
#include "kernels/zero.hpp"

namespace mezzotint {
namespace {

constexpr int kCellVecs = static_cast<int>(16 / kVecFloats);

struct LinkRange {
  const Link* first;
  const Link* last;
  [[nodiscard]] const Link* begin() const { return first; }
  [[nodiscard]] const Link* end() const { return last; }
};

inline MEZZOTINT_INLINE LinkRange links_of(const Links& links, std::int64_t i) {
  return {links.links + links.segments[i], links.links + links.segments[i + 1]};
}

// line = x as ordered integers; with kRaise only where they are larger.
template <class T, bool kRaise>
void order_row(SignedOf<T>* line, const Cell* x, std::int64_t cells) {
  const auto* from = reinterpret_cast<const UnsignedOf<T>*>(x);
  for (std::int64_t i = 0; i < cells * kCellVecs; ++i) {
    const SignedOf<T> value = to_ordered<T>(from[i]);
    if constexpr (kRaise) {
      line[i] = value > line[i] ? value : line[i];
    } else {
      line[i] = value;
    }
  }
}

// y = the maxima of the windows' columns in a line, in the lanes given.
template <class T, bool kStream>
void max_columns(const SignedOf<T>* line, const Links& columns, const Cell& lanes, Cell* y, std::int64_t width) {
  const Bits* kept = reinterpret_cast<const Bits*>(&lanes);
  for (std::int64_t w = 0; w < width; ++w) {
    SignedOf<T> best[kCellVecs];
#pragma GCC unroll 4
    for (int i = 0; i < kCellVecs; ++i) {
      best[i] = lowest<T>();
    }
    for (const Link& column : links_of(columns, w)) {
      const SignedOf<T>* values = line + column.at * kCellVecs;
#pragma GCC unroll 4
      for (int i = 0; i < kCellVecs; ++i) {
        best[i] = values[i] > best[i] ? values[i] : best[i];
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kCellVecs; ++i) {
      put<kStream>(reinterpret_cast<Bits*>(y + w) + i, reinterpret_cast<Bits>(from_ordered<T>(best[i])) & kept[i]);
    }
  }
}

template <class T, bool kStream>
void max_pool(const MaxPoolJob& job, std::int64_t block, std::int64_t row, Cell* scratch) {
  const Cell lanes = lanes_below<T>(job.batch - block * (kCellBytes / static_cast<std::int64_t>(sizeof(T))));
  SignedOf<T>* line = reinterpret_cast<SignedOf<T>*>(scratch);
  const LinkRange rows = links_of(job.rows, row);
  for (std::int64_t i = 0; rows.first == rows.last && i < job.x.width * kCellVecs; ++i) {
    line[i] = lowest<T>();  // for all channels: nothing overwrites it
  }
  for (std::int64_t c = 0; c < job.y.channels; ++c) {
    for (const Link* link = rows.first; link != rows.last; ++link) {
      const Cell* x = cell_at(job.x, block, link->at, c, 0);
      link == rows.first ? order_row<T, false>(line, x, job.x.width) : order_row<T, true>(line, x, job.x.width);
    }
    max_columns<T, kStream>(line, job.columns, lanes, cell_at(job.y, block, row, c, 0), job.y.width);
  }
  if constexpr (kStream) {
    fence();
  }
}

void max_pool_row(const MaxPoolJob& job, std::int64_t block, std::int64_t stored_row, Cell* scratch) {
  const std::int64_t row = stored_row - job.y.halo.top;
  if (!zero_halo(job.y, block, row)) {
    return;
  }
  with_type(job.y.dtype, [&](auto type) MEZZOTINT_INLINE {
    using T = decltype(type);
    job.stream ? max_pool<T, true>(job, block, row, scratch) : max_pool<T, false>(job, block, row, scratch);
  });
}

}  // namespace
}  // namespace mezzotint
