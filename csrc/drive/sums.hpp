// How do the sums at the nonzeros, kept apart for chunks of the images, become a gradient? Added up in the order of the
// chunks, whoever computed them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/tensor.hpp"
#include "drive/vectors.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// FP32 sums of the nonzeros, one row for each chunk of the images: the first is the result itself where that is
// contiguous FP32 and there is no other, else scratch that is added up and converted at the end.
class SumsOf {
 public:
  SumsOf(const Vector& result, std::int64_t chunks) : result_(result), chunks_(chunks) {
    if (result.dtype == Dtype::kFloat32 && result.stride == 1 && chunks == 1) {
      sums_ = static_cast<float*>(result.data);
    } else {
      scratch_ = Scratch<float>(chunks * result.size);
      sums_ = scratch_.get();
    }
    std::fill(sums_, sums_ + chunks * result.size, 0.0f);
  }
  [[nodiscard]] float* get() const { return sums_; }
  [[nodiscard]] float* chunk(std::int64_t number) const { return sums_ + number * result_.size; }
  [[nodiscard]] std::int64_t chunks() const { return chunks_; }
  void finish() const {
    for (std::int64_t k = 0; scratch_.get() && k < result_.size; ++k) {
      float sum = sums_[k];
      for (std::int64_t chunk = 1; chunk < chunks_; ++chunk) {
        sum += sums_[chunk * result_.size + k];
      }
      write_element(result_, k, sum);
    }
  }

 private:
  Vector result_;
  std::int64_t chunks_;
  Scratch<float> scratch_;
  float* sums_;
};

}  // namespace mezzotint
