// How is an image averaged over all of its pixels, and how does the gradient come back?
#pragma once

#include "kernels/cell.hpp"
#include "kernels/jobs.hpp"
#include "kernels/zero.hpp"

namespace mezzotint {
namespace {

// The sums of rows are added up: the rounding errors of a large image grow with its edge, not with its area.
template <class T>
void average(const AverageJob& job, std::int64_t block, std::int64_t channel) {
  const Vec pixels = broadcast(static_cast<float>(job.image.height * job.image.width));
  Wide<T> total = {};
  for (std::int64_t h = 0; h < job.image.height; ++h) {
    const Cell* x = cell_at(job.image, block, h, channel, 0);
    Wide<T> sum = {};
    for (std::int64_t w = 0; w < job.image.width; ++w) {
      each_vec(sum, CellOf<T>::load(x + w), [](Vec& s, Vec v) MEZZOTINT_INLINE { s += v; });
    }
    each_vec(total, sum, [](Vec& t, Vec s) MEZZOTINT_INLINE { t += s; });
  }
  each_vec(total, [&](Vec& t) MEZZOTINT_INLINE { t /= pixels; });
  CellOf<T>::template store<false>(cell_at(job.pixel, block, 0, channel, 0), total);
}

void average_channel(const AverageJob& job, std::int64_t block, std::int64_t channel) {
  with_type(job.image.dtype, [&](auto type) MEZZOTINT_INLINE { average<decltype(type)>(job, block, channel); });
}

template <class T>
void average_grad(const AverageJob& job, std::int64_t block, std::int64_t row) {
  const Vec pixels = broadcast(static_cast<float>(job.image.height * job.image.width));
  for (std::int64_t c = 0; c < job.image.channels; ++c) {
    Wide<T> share = CellOf<T>::load(cell_at(job.pixel, block, 0, c, 0));
    each_vec(share, [&](Vec& v) MEZZOTINT_INLINE { v /= pixels; });
    Cell* gx = cell_at(job.image, block, row, c, 0);
    for (std::int64_t w = 0; w < job.image.width; ++w) {
      CellOf<T>::template store<false>(gx + w, share);
    }
  }
}

void average_grad_row(const AverageJob& job, std::int64_t block, std::int64_t stored_row) {
  const std::int64_t row = stored_row - job.image.halo.top;
  if (!zero_halo(job.image, block, row)) {
    return;
  }
  with_type(job.image.dtype, [&](auto type) MEZZOTINT_INLINE { average_grad<decltype(type)>(job, block, row); });
}

}  // namespace
}  // namespace mezzotint
