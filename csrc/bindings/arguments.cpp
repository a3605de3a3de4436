#include "bindings/arguments.hpp"

namespace mezzotint::bindings {
namespace {

Dtype dtype_of(int code) {
  if (code < 0 || code > static_cast<int>(Dtype::kInt32)) {
    throw InvalidInput("dtype code: received " + std::to_string(code) + "; allowed: 0 to 3");
  }
  return static_cast<Dtype>(code);
}

void refuse(const char* name, const std::string& allowed) {
  throw InvalidInput(std::string(name) + ": received a tensor of another type or layout; allowed: " + allowed);
}

std::int64_t at_or(const Ints& list, std::size_t i, std::int64_t otherwise) {
  return i < list.size() ? list[i] : otherwise;
}

}  // namespace

Tensor tensor_of(const TensorArgument& argument) {
  const auto& [address, code, shape, strides] = argument;
  if ((shape.size() != 4 && shape.size() != 2) || strides.size() != shape.size()) {
    refuse("activations", "[N, C, H, W] or [N, C]");
  }
  Tensor tensor{reinterpret_cast<void*>(address), dtype_of(code)};
  tensor.n = shape[0];
  tensor.c = shape[1];
  tensor.h = at_or(shape, 2, 1);
  tensor.w = at_or(shape, 3, 1);
  tensor.stride_n = strides[0];
  tensor.stride_c = strides[1];
  tensor.stride_h = at_or(strides, 2, 0);
  tensor.stride_w = at_or(strides, 3, 0);
  return tensor;
}

Vector vector_of(const TensorArgument& argument) {
  const auto& [address, code, shape, strides] = argument;
  if (shape.size() != 1 || strides.size() != 1) {
    refuse("vector", "a one-dimensional tensor");
  }
  return {reinterpret_cast<void*>(address), dtype_of(code), shape[0], strides[0]};
}

Vector vector_of(const std::optional<TensorArgument>& argument) {
  return argument ? vector_of(*argument) : Vector{};
}

const void* contiguous(const std::optional<TensorArgument>& argument, Dtype dtype, const char* name) {
  if (!argument) {
    return nullptr;
  }
  const Vector vector = vector_of(*argument);
  if (vector.dtype != dtype || (vector.stride != 1 && vector.size > 1)) {
    refuse(name, dtype == Dtype::kInt32 ? "contiguous int32" : "contiguous float32");
  }
  return vector.data;
}

SparseWeight weight_of(const TensorArgument& values, const TensorArgument& indices,
                       const std::optional<TensorArgument>& transposed, Dtype working) {
  const Vector v = vector_of(values);
  SparseWeight weight{v.data, v.dtype, v.stride, working};
  weight.nnz = vector_of(indices).size;
  weight.indices = static_cast<const std::int32_t*>(contiguous(indices, Dtype::kInt32, "indices"));
  weight.transposed = static_cast<const std::int32_t*>(contiguous(transposed, Dtype::kInt32, "transposed"));
  if (transposed && vector_of(*transposed).size != weight.nnz) {
    refuse("transposed", "as many elements as indices");
  }
  if (v.size != weight.nnz || v.dtype == Dtype::kInt32) {
    refuse("values", "a floating type with as many elements as indices");
  }
  return weight;
}

Conv conv_of(const ConvArgument& a) {
  Conv conv{a[0], a[1], a[2], a[3], a[12]};
  conv.stride_h = a[4];
  conv.stride_w = a[5];
  conv.top = a[6];
  conv.bottom = a[7];
  conv.left = a[8];
  conv.right = a[9];
  conv.dilation_h = a[10];
  conv.dilation_w = a[11];
  if (conv.groups < 1 || conv.stride_h < 1 || conv.stride_w < 1 || conv.dilation_h < 1 || conv.dilation_w < 1) {
    throw InvalidInput("convolution: received a stride, dilation or number of groups below 1; allowed: >= 1");
  }
  return conv;
}

Halo halo_of(const HaloArgument& a) {
  return {a[0], a[1], a[2], a[3]};
}

Packed packed_of(const TensorArgument& argument, const HaloArgument& halo, const char* name) {
  const auto& [address, code, shape, strides] = argument;
  const Halo h = halo_of(halo);
  if (shape.size() != 5 || shape[4] != kLanes || dtype_of(code) != Dtype::kFloat32 || address % 64 != 0) {
    refuse(name, "float32 [blocks, height, channels, width, 16], aligned to 64 bytes");
  }
  const std::int64_t height = shape[1] - h.top - h.bottom;
  const std::int64_t width = shape[3] - h.left - h.right;
  if (height < 0 || width < 0) {
    refuse(name, "a stored size of at least its halo");
  }
  Packed view = native_layout(shape[0], shape[2], height, width, h);
  view.data = reinterpret_cast<float*>(address);
  return view;
}

}  // namespace mezzotint::bindings
