#include "drive/columns.hpp"

#include <algorithm>

#include "drive/pixels.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
Columns::Columns(const Tensor& x, const Conv& conv, Size out, const Context& with)
    : conv_(conv), out_(out), planes_(x) {
  if (x.stride_w != 1) {
    Packed packed = linear_layout(x.dtype, blocks_of(x.n * x.h * x.w, x.dtype), x.c);
    memory_ = Scratch<Cell>(cells_of(packed));
    packed.data = memory_.get();
    pack_pixels(x, 0, by_block(packed), with);
    planes_.data = memory_.get();
    planes_.stride_n = x.h * x.w;
    planes_.stride_c = packed.channel * lanes_of(x.dtype);
    planes_.stride_h = x.w;
    planes_.stride_w = 1;
  }
}

// What a tap reads for outputs [column, column + count) of a row: [before, end) of them lie in the input's row, the
// first of these at place `begin` of it.
Columns::Span Columns::span(std::int64_t tap, std::int64_t column, std::int64_t count) const {
  const std::int64_t step = conv_.stride_w, begin = column * step + tap * conv_.dilation_w - conv_.left;
  const std::int64_t before = std::min(count, begin < 0 ? (step - 1 - begin) / step : 0);
  const std::int64_t inside = begin < planes_.w ? (planes_.w - 1 - begin) / step + 1 : 0;
  return {before, std::clamp(inside, before, count), begin + before * step};
}

// A feature of `count` samples from sample `first` on, row by row of the outputs.
template <class T>
void Columns::copy(std::int64_t feature, std::int64_t first, std::int64_t count, T* to) const {
  const std::int64_t channel = feature / conv_.taps(), tap = feature % conv_.taps();
  const std::int64_t down = tap / conv_.kernel_w * conv_.dilation_h - conv_.top, across = tap % conv_.kernel_w;
  const T* const plane = static_cast<const T*>(planes_.data) + channel * planes_.stride_c;
  const Span whole = span(across, 0, out_.w);
  std::int64_t image = first / (out_.h * out_.w), row = first / out_.w % out_.h, column = first % out_.w;
  while (count > 0) {
    const std::int64_t run = std::min(count, out_.w - column), y = row * conv_.stride_h + down;
    if (y < 0 || y >= planes_.h) {
      std::fill(to, to + run, T{});
    } else {
      const Span of = run == out_.w ? whole : span(across, column, run);
      const T* const from = plane + image * planes_.stride_n + y * planes_.stride_h + of.begin;
      std::fill(to, to + of.before, T{});
      if (conv_.stride_w == 1) {
        std::copy(from, from + (of.end - of.before), to + of.before);
      } else {
        for (std::int64_t i = of.before; i < of.end; ++i) {
          to[i] = from[(i - of.before) * conv_.stride_w];
        }
      }
      std::fill(to + of.end, to + run, T{});
    }
    to += run;
    count -= run;
    column = 0;
    if (++row == out_.h) {
      row = 0;
      ++image;
    }
  }
}

void Columns::pack(std::int64_t first, const Packed& to, const Context& with) const {
  const std::int64_t room = to.blocks * lanes_of(to.dtype), begin = first * lanes_of(to.dtype);
  const std::int64_t count = std::min(room, planes_.n * out_.h * out_.w - begin);
  const auto fill = [&](auto element) {
    using T = decltype(element);
    parallel_for(to.channels, useful_threads(to.channels * to.blocks * 4, with.threads), [&](std::int64_t feature) {
      T* const at = reinterpret_cast<T*>(cell_at(to, 0, 0, feature, 0));
      copy(feature, begin, count, at);
      std::fill(at + count, at + room, T{});
    });
  };
  size_of(to.dtype) == 2 ? fill(std::uint16_t{}) : fill(std::uint32_t{});
}

Conv on_columns(const Conv& conv) {
  Conv linear;
  linear.out = conv.out;
  linear.in_per_group = conv.row();
  linear.groups = conv.groups;
  return linear;
}

}  // namespace mezzotint
