// How do Python arguments become the library's descriptions? Tensors arrive as (address, dtype code, shape, strides).
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.hpp"
#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint::bindings {

using Ints = std::vector<std::int64_t>;
using TensorArgument = std::tuple<std::uintptr_t, int, Ints, Ints>;
using ConvArgument = std::array<std::int64_t, 13>;
using HaloArgument = std::array<std::int64_t, 4>;
// Packed activations and their halo.
using PackedArgument = std::tuple<TensorArgument, HaloArgument>;
using Optional = std::optional<TensorArgument>;
using OptionalPacked = std::optional<PackedArgument>;
// (scale, shift, residual, relu, mask, mask_scale, mask_shift, companion), as in Epilogue.
using EpilogueArgument =
    std::tuple<Optional, Optional, OptionalPacked, bool, OptionalPacked, Optional, Optional, OptionalPacked>;

// 0 float32, 1 bfloat16, 2 float16, 3 int32.
Dtype dtype_of(int code);

// [N, C, H, W], or [N, C] with H = W = 1.
Tensor tensor_of(const TensorArgument& argument);

// One-dimensional of any stride; absent: null data.
Vector vector_of(const TensorArgument& argument);
Vector vector_of(const std::optional<TensorArgument>& argument);

// The address of a contiguous one-dimensional tensor of the type given, refused otherwise.
const void* contiguous(const std::optional<TensorArgument>& argument, Dtype dtype, const char* name);

// (values, indices, transposed or nothing), to be rounded to `working`.
SparseWeight weight_of(const TensorArgument& values, const TensorArgument& indices,
                       const std::optional<TensorArgument>& transposed, Dtype working);

// (out, in_per_group, kernel_h, kernel_w, stride_h, stride_w, top, bottom, left, right, dilation_h, dilation_w,
// groups).
Conv conv_of(const ConvArgument& argument);

Halo halo_of(const HaloArgument& argument);

// Packed activations [blocks, height + halo, channels, width + halo, lanes], contiguous.
Packed packed_of(const PackedArgument& argument, const char* name);
// Absent: null data.
Packed packed_of(const OptionalPacked& argument, const char* name);

// Contiguous float32 [weights of the convolution], of which none is missing.
float* dense_weight_of(const TensorArgument& argument, const Conv& conv, const char* name);

Epilogue epilogue_of(const EpilogueArgument& argument);

// The address of a contiguous float64 tensor of the shape given.
double* doubles_of(const TensorArgument& argument, std::array<std::int64_t, 2> wanted, const char* name);

// The address of contiguous float64 sums [channels, 2], or null.
double* totals_of(const Optional& argument, std::int64_t channels);

// Contiguous float32 coefficients, or null.
const float* floats_of(const Optional& argument, const char* name);

}  // namespace mezzotint::bindings
