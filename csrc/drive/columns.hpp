// How does a weight gradient fill its lanes where there are few images? With pixels: what a convolution reads for each
// of its output pixels is a sample of a linear layer, whose features are the input channels and taps.
#pragma once

#include <cstdint>
#include <optional>

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "drive/context.hpp"
#include "drive/conv2d.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// The samples are the output pixels of all images, one after the other; features are in the order of the weight's row.
class Columns {
 public:
  // Whether a tensor's pixels can be read: they lie in rows, or evenly apart, as with the channels last.
  static bool reads(const Tensor& x);

  // What `conv` reads of x for outputs of size `out`. x must outlive it.
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
  std::optional<Tensor> samples_;  // in memory as they are wanted
  Tensor planes_;                  // or in rows
  Scratch<Cell> memory_;           // in here, where x has none
};

// The linear layer whose weight gradient is that of a convolution.
Conv on_columns(const Conv& conv);

}  // namespace mezzotint
