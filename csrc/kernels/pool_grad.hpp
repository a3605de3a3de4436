// How does the gradient of a maximum find its way back? To the first maximum of each window, found by comparison.
//
// A channel is walked down with two short rings of rows, small enough for a cache: the input as ordered integers; and
// for each window the tap of its first maximum, beside its gradient. From the latter every position collects, in FP32,
// what the windows around it send.
#pragma once

#include "kernels/pool.hpp"

namespace mezzotint {
namespace {

// What a window sends, and to which of its taps; -1 where y is not the maximum of the window.
struct Sent {
  Cell tap, gradient;
};

// A row is where the lower bits of its number say.
struct MaxPoolRings {
  Cell* ordered;                                 // [held_rows][width of x]
  Sent* sent;                                    // [held_windows][width of y]
  std::int64_t rows_made = 0, windows_made = 0;  // so far, in ascending order
};

// Fills in one row of windows.
template <class T>
__attribute__((noinline)) void find_firsts(const MaxPoolGradJob& job, const Cell* y, const Cell* gy,
                                           const Cell* ordered, LinkRange rows, Sent* sent) {
  const std::int64_t kept = job.held_rows - 1, width = job.x.width, taps = job.kernel_w;
  for (std::int64_t w = 0; w < job.y.width; ++w) {
    __builtin_prefetch(y + w + job.y.row);
    __builtin_prefetch(gy + w + job.gy.row);
    SignedOf<T> top[kCellVecs], first[kCellVecs];
#pragma GCC unroll 4
    for (int i = 0; i < kCellVecs; ++i) {
      top[i] = to_ordered<T>(reinterpret_cast<const UnsignedOf<T>*>(y + w)[i]);
      first[i] = ~SignedOf<T>{};
    }
    const LinkRange columns = links_of(job.columns, w);
    for (const Link& row : rows) {
      const Cell* x = ordered + (row.at & kept) * width;
      for (const Link& column : columns) {
        const UnsignedOf<T> tap = UnsignedOf<T>{} + static_cast<ElementOf<T>>(row.tap * taps + column.tap);
        const auto* values = reinterpret_cast<const SignedOf<T>*>(x + column.at);
#pragma GCC unroll 4
        for (int i = 0; i < kCellVecs; ++i) {
          first[i] = values[i] == top[i] ? reinterpret_cast<SignedOf<T>>(tap) : first[i];
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kCellVecs; ++i) {
      reinterpret_cast<SignedOf<T>*>(&sent[w].tap)[i] = first[i];
    }
    sent[w].gradient = gy[w];
  }
}

// gx = the sums over the windows of which a position is the first maximum. Meanwhile the input `ahead` is fetched: the
// rows of a channel are too far apart for the CPU to foresee them, and a fetch beyond the last row harms nobody.
template <class T, bool kStream>
__attribute__((noinline)) void collect_row(const MaxPoolGradJob& job, const Sent* sent, LinkRange windows,
                                           const Cell* ahead, Cell* gx) {
  const std::int64_t kept = job.held_windows - 1, width = job.y.width, taps = job.kernel_w;
  for (std::int64_t w = 0; w < job.gx.width; ++w) {
    __builtin_prefetch(ahead + w);
    const LinkRange columns = links_of(job.window_columns, w);
    Wide<T> sum = {};
    for (const Link& window : windows) {
      const Sent* row = sent + (window.at & kept) * width;
      for (const Link& column : columns) {
        const UnsignedOf<T> tap = UnsignedOf<T>{} + static_cast<ElementOf<T>>(window.tap * taps + column.tap);
        const Sent* from = row + column.at;
        Cell here;
#pragma GCC unroll 4
        for (int i = 0; i < kCellVecs; ++i) {
          const UnsignedOf<T> first = reinterpret_cast<const UnsignedOf<T>*>(&from->tap)[i];
          const UnsignedOf<T> gradient = reinterpret_cast<const UnsignedOf<T>*>(&from->gradient)[i];
          reinterpret_cast<UnsignedOf<T>*>(&here)[i] = first == tap ? gradient : UnsignedOf<T>{};
        }
        each_vec(sum, CellOf<T>::load(&here), [](Vec& s, Vec v) MEZZOTINT_INLINE { s += v; });
      }
    }
    CellOf<T>::template store<kStream>(gx + w, sum);
  }
}

template <class T, bool kStream>
void max_pool_grad(const MaxPoolGradJob& job, std::int64_t block, std::int64_t channel, MaxPoolRings rings) {
  for (std::int64_t row = -job.gx.halo.top; row < job.gx.height + job.gx.halo.bottom; ++row) {
    if (!zero_halo(job.gx, block, row, channel, channel + 1)) {
      continue;
    }
    const LinkRange windows = links_of(job.window_rows, row);
    for (; windows.first != windows.last && rings.windows_made <= windows.first->at; ++rings.windows_made) {
      const std::int64_t made = rings.windows_made;
      const LinkRange rows = links_of(job.rows, made);
      for (; rows.first != rows.last && rings.rows_made <= rows.first->at; ++rings.rows_made) {
        Cell* line = rings.ordered + (rings.rows_made & (job.held_rows - 1)) * job.x.width;
        order_row<T, false>(reinterpret_cast<SignedOf<T>*>(line), cell_at(job.x, block, rings.rows_made, channel, 0),
                            job.x.width);
      }
      find_firsts<T>(job, cell_at(job.y, block, made, channel, 0), cell_at(job.gy, block, made, channel, 0),
                     rings.ordered, rows, rings.sent + (made & (job.held_windows - 1)) * job.y.width);
    }
    collect_row<T, kStream>(job, rings.sent, windows, cell_at(job.x, block, row + job.held_rows, channel, 0),
                            cell_at(job.gx, block, row, channel, 0));
  }
  if constexpr (kStream) {
    fence();
  }
}

void max_pool_grad_channel(const MaxPoolGradJob& job, std::int64_t block, std::int64_t channel, Cell* scratch) {
  const MaxPoolRings rings{scratch, reinterpret_cast<Sent*>(scratch + job.held_rows * job.x.width)};
  with_type(job.gx.dtype, [&](auto type) MEZZOTINT_INLINE {
    using T = decltype(type);
    job.stream ? max_pool_grad<T, true>(job, block, channel, rings)
               : max_pool_grad<T, false>(job, block, channel, rings);
  });
}

}  // namespace
}  // namespace mezzotint
