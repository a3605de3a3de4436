// How do the windows of few images fill the lanes of cells? What a convolution reads for each of its output pixels is a
// sample of a linear layer, whose features are the input channels and taps.
#pragma once

#include <cstdint>

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "drive/context.hpp"
#include "drive/conv2d.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// The samples are the output pixels of all images, one after the other; features are in the order of the weight's row.
class Columns {
 public:
  // What `conv` reads of x, which has pixels (drive/pixels.hpp) and must outlive it, for outputs of size `out`.
  Columns(const Tensor& x, const Conv& conv, Size out, const Context& with);

  // Fills the blocks of a linear layer's activations (core/packed.hpp, by_block) from block `first` of the samples on;
  // behind the last sample with zeros.
  void pack(std::int64_t first, const Packed& to, const Context& with) const;

 private:
  struct Span {
    std::int64_t before, end, begin;
  };
  [[nodiscard]] Span span(std::int64_t tap, std::int64_t column, std::int64_t count) const;
  template <class T>
  void copy(std::int64_t feature, std::int64_t first, std::int64_t count, T* to) const;

  Conv conv_;
  Size out_;
  Tensor planes_;         // whose pixels lie in rows
  Scratch<Cell> memory_;  // in here, where those of x do not
};

// The linear layer whose weight gradient is that of a convolution.
Conv on_columns(const Conv& conv);

}  // namespace mezzotint
