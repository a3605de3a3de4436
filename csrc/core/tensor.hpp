// What does the library know of a tensor, of a convolution and of its sparse weight? Plain descriptions, no ownership.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"

namespace mezzotint {

// A tensor [N, C, H, W]; strides in elements, never negative, 0 where expanded. Linear layers use H = W = 1.
struct Tensor {
  void* data = nullptr;
  Dtype dtype = Dtype::kFloat32;
  std::int64_t n = 0, c = 0, h = 1, w = 1;
  std::int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;
};

// A one-dimensional tensor; `data` is null for an absent bias.
struct Vector {
  void* data = nullptr;
  Dtype dtype = Dtype::kFloat32;
  std::int64_t size = 0;
  std::int64_t stride = 1;
};

// A 2-D convolution with weight [out, in_per_group, kernel_h, kernel_w].
struct Conv {
  std::int64_t out = 0, in_per_group = 0, kernel_h = 1, kernel_w = 1, groups = 1;
  std::int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;

  [[nodiscard]] std::int64_t in() const { return in_per_group * groups; }
  [[nodiscard]] std::int64_t out_per_group() const { return out / groups; }
  [[nodiscard]] std::int64_t taps() const { return kernel_h * kernel_w; }
  // Weights of one output channel: the length of a row of the flat weight.
  [[nodiscard]] std::int64_t row() const { return in_per_group * taps(); }
};

// The nonzeros of a weight: values[k] sits at the flat position indices[k] (strictly ascending) of the dense weight.
// transposed: the order of 0..nnz-1 by (input channel in the group, output channel, tap); only the input gradient
// reads it. The values are rounded to `working` when they are expanded.
struct SparseWeight {
  const void* values = nullptr;
  Dtype dtype = Dtype::kFloat32;
  std::int64_t stride = 1;  // of the values, in elements
  Dtype working = Dtype::kFloat32;
  const std::int32_t* indices = nullptr;
  const std::int32_t* transposed = nullptr;
  std::int64_t nnz = 0;
};

}  // namespace mezzotint
