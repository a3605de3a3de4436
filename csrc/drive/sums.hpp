// How do the sums at the nonzeros, kept apart for chunks of the images, become a gradient? Added up in the order of the
// chunks, whoever computed them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/tensor.hpp"
#include "drive/vectors.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {

inline void clear_sums(float* sums, std::int64_t count, int threads) {
  parallel_ranges(count, useful_threads(count / 16, threads),
                  [&](std::int64_t begin, std::int64_t end) { std::fill(sums + begin, sums + end, 0.0f); });
}

// FP32 sums of the nonzeros, one row for each chunk of the images: the first is the result itself where that is
// contiguous FP32 and there is no other, else scratch that is added up and converted at the end.
class SumsOf {
 public:
  SumsOf(const Vector& result, std::int64_t chunks, int threads) : result_(result), chunks_(chunks) {
    if (result.dtype == Dtype::kFloat32 && result.stride == 1 && chunks == 1) {
      sums_ = static_cast<float*>(result.data);
    } else {
      scratch_ = Scratch<float>(chunks * result.size);
      sums_ = scratch_.get();
    }
    clear_sums(sums_, chunks * result.size, threads);
  }
  [[nodiscard]] float* get() const { return sums_; }
  [[nodiscard]] float* chunk(std::int64_t number) const { return sums_ + number * result_.size; }
  [[nodiscard]] std::int64_t chunks() const { return chunks_; }
  void finish(int threads) const {
    if (scratch_.get()) {
      parallel_ranges(result_.size, useful_threads(chunks_ * result_.size / 4, threads),
                      [&](std::int64_t begin, std::int64_t end) { add(begin, end); });
    }
  }

 private:
  void add(std::int64_t begin, std::int64_t end) const {
    for (std::int64_t number = 1; number < chunks_; ++number) {
      const float* more = chunk(number);
      for (std::int64_t k = begin; k < end; ++k) {
        sums_[k] += more[k];
      }
    }
    for (std::int64_t k = begin; k < end; ++k) {
      write_element(result_, k, sums_[k]);
    }
  }

  Vector result_;
  std::int64_t chunks_;
  Scratch<float> scratch_;
  float* sums_;
};

}  // namespace mezzotint
