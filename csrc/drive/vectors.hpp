// How do one-dimensional tensors of any type and stride meet kernels that want contiguous FP32?
#pragma once

#include "core/tensor.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

inline float read_element(const Vector& vector, std::int64_t i) {
  const std::int64_t at = i * vector.stride;
  switch (vector.dtype) {
    case Dtype::kBFloat16:
      return widen(static_cast<const BFloat16*>(vector.data)[at]);
    case Dtype::kFloat16:
      return widen(static_cast<const Float16*>(vector.data)[at]);
    default:
      return static_cast<const float*>(vector.data)[at];
  }
}

inline void write_element(const Vector& vector, std::int64_t i, float value) {
  const std::int64_t at = i * vector.stride;
  switch (vector.dtype) {
    case Dtype::kBFloat16:
      return narrow(value, static_cast<BFloat16*>(vector.data)[at]);
    case Dtype::kFloat16:
      return narrow(value, static_cast<Float16*>(vector.data)[at]);
    default:
      return narrow(value, static_cast<float*>(vector.data)[at]);
  }
}

// A contiguous FP32 copy for reading; null when the vector is absent.
class Floats {
 public:
  explicit Floats(const Vector& vector) {
    if (vector.data) {
      copy_ = Scratch<float>(vector.size);
      for (std::int64_t i = 0; i < vector.size; ++i) {
        copy_[i] = read_element(vector, i);
      }
    }
  }
  [[nodiscard]] const float* get() const { return copy_.get(); }

 private:
  Scratch<float> copy_;
};

}  // namespace mezzotint
