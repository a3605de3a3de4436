#include "bindings/arguments.hpp"

namespace mezzotint::bindings {
namespace {

void refuse(const char* name, const std::string& allowed) {
  throw InvalidInput(std::string(name) + ": received a tensor of another type or layout; allowed: " + allowed);
}

constexpr int kFloat64Code = 4;  // no kernel computes in it; sums over many images are returned in it

Beside beside(const Packed& view) {
  return view.data ? Beside{cell_at(view, 0, 0, 0, 0), view.block, view.row, view.channel} : Beside{};
}

std::int64_t at_or(const Ints& list, std::size_t i, std::int64_t otherwise) {
  return i < list.size() ? list[i] : otherwise;
}

}  // namespace

Dtype dtype_of(int code) {
  if (code < 0 || code > static_cast<int>(Dtype::kInt32)) {
    throw InvalidInput("dtype code: received " + std::to_string(code) + "; allowed: 0 to 3");
  }
  return static_cast<Dtype>(code);
}

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

Packed packed_of(const PackedArgument& argument, const char* name) {
  const auto& [address, code, shape, strides] = std::get<0>(argument);
  const Halo h = halo_of(std::get<1>(argument));
  const Dtype dtype = dtype_of(code);
  if (shape.size() != 5 || dtype == Dtype::kInt32 || shape[4] != lanes_of(dtype) || address % kCellBytes != 0) {
    refuse(name, "[blocks, height, channels, width, 16 (float32) or 32 (16-bit types)], aligned to 64 bytes");
  }
  const std::int64_t height = shape[1] - h.top - h.bottom;
  const std::int64_t width = shape[3] - h.left - h.right;
  if (height < 0 || width < 0) {
    refuse(name, "a stored size of at least its halo");
  }
  Packed view = native_layout(dtype, shape[0], shape[2], height, width, h);
  view.data = reinterpret_cast<Cell*>(address);
  return view;
}

Packed packed_of(const OptionalPacked& argument, const char* name) {
  return argument ? packed_of(*argument, name) : Packed{};
}

const float* floats_of(const Optional& argument, const char* name) {
  return static_cast<const float*>(contiguous(argument, Dtype::kFloat32, name));
}

double* doubles_of(const TensorArgument& argument, std::array<std::int64_t, 2> wanted, const char* name) {
  const auto& [address, code, shape, strides] = argument;
  const bool fits = shape.size() == 2 && shape[0] == wanted[0] && shape[1] == wanted[1];
  if (code != kFloat64Code || !fits || strides[0] != shape[1] || strides[1] != 1) {
    refuse(name, "contiguous float64 [" + std::to_string(wanted[0]) + ", " + std::to_string(wanted[1]) + "]");
  }
  return reinterpret_cast<double*>(address);
}

double* totals_of(const Optional& argument, std::int64_t channels) {
  return argument ? doubles_of(*argument, {channels, 2}, "totals") : nullptr;
}

float* dense_weight_of(const TensorArgument& argument, const Conv& conv, const char* name) {
  const Vector vector = vector_of(argument);
  const std::int64_t size = conv.out * conv.row();
  if (vector.dtype != Dtype::kFloat32 || vector.size != size || vector.stride != 1) {
    refuse(name, "contiguous float32 [" + std::to_string(size) + "]");
  }
  return static_cast<float*>(vector.data);
}

Epilogue epilogue_of(const EpilogueArgument& argument) {
  const auto& [scale, shift, residual, relu, mask, mask_scale, mask_shift, companion] = argument;
  Epilogue epilogue;
  epilogue.scale = floats_of(scale, "scale");
  epilogue.shift = floats_of(shift, "shift");
  epilogue.residual = beside(packed_of(residual, "residual"));
  epilogue.relu = relu;
  epilogue.mask = beside(packed_of(mask, "mask"));
  epilogue.mask_scale = floats_of(mask_scale, "mask_scale");
  epilogue.mask_shift = floats_of(mask_shift, "mask_shift");
  epilogue.companion = beside(packed_of(companion, "companion"));
  return epilogue;
}

}  // namespace mezzotint::bindings
