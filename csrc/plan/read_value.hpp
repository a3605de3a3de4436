// How is a value read and rounded, and an offset checked? Shared by the expansions of plan/expand.hpp.
#pragma once

#include <cstdint>
#include <limits>

#include "core/error.hpp"
#include "core/tensor.hpp"

namespace mezzotint {

constexpr std::int64_t kNonzeroCost = 4;  // expanding a nonzero, in the units of useful_threads

// Offsets have 32 bits and count bytes: 2 GiB of activations for the rows of one block that a sum reads.
inline std::int32_t as_offset(std::int64_t offset) {
  if (offset > std::numeric_limits<std::int32_t>::max() || offset < std::numeric_limits<std::int32_t>::min()) {
    throw InvalidInput(
        "activations: the rows of 16 or 32 images that a sum reads take more than 2 GiB; use smaller "
        "images");
  }
  return static_cast<std::int32_t>(offset);
}

[[noreturn]] inline void refuse_indices() {
  throw InvalidInput(
      "indices: received positions that are out of order or outside of the weight; allowed: strictly ascending flat "
      "positions and their transposed order. Make them with Pattern.from_mask or Pattern.from_indices.");
}

// Reads the value at a position as the kernels use it: stored as V, rounded to T.
template <class V, class T>
struct Reader {
  const V* values;
  std::int64_t stride;
  float operator()(std::int64_t k) const { return rounded_to<T>(widen(values[k * stride])); }
};

template <class V, class Use>
void with_reader_of(const SparseWeight& weight, const Use& use) {
  const V* values = static_cast<const V*>(weight.values);
  switch (weight.working) {
    case Dtype::kBFloat16:
      return use(Reader<V, BFloat16>{values, weight.stride});
    case Dtype::kFloat16:
      return use(Reader<V, Float16>{values, weight.stride});
    default:
      return use(Reader<V, float>{values, weight.stride});
  }
}

// Calls use(reader) with the reader for the weight's types, so that the types cost nothing per value.
template <class Use>
void with_reader(const SparseWeight& weight, const Use& use) {
  switch (weight.dtype) {
    case Dtype::kBFloat16:
      return with_reader_of<BFloat16>(weight, use);
    case Dtype::kFloat16:
      return with_reader_of<Float16>(weight, use);
    default:
      return with_reader_of<float>(weight, use);
  }
}

inline std::int64_t parts_of(std::int64_t channels, std::int64_t part) {
  const std::int64_t parts = (channels + part - 1) / part;
  return parts < 1 ? 1 : parts;
}

}  // namespace mezzotint
