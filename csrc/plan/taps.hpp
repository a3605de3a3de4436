// With which weights is a side resampled? Pillow's coefficients (Resample.c), so that results equal Pillow's to the
// bit.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/jobs.hpp"

namespace mezzotint {

// In the order of mezzotint.data.resize.FILTERS.
enum class Filter : std::uint8_t { kBox, kBilinear, kHamming, kBicubic, kLanczos };

// The largest support of a filter, in output pixels: every size up to kLargestSide has sums that fit 32 bits.
constexpr std::int64_t kLargestSide = std::int64_t{1} << 24;

class TapPlan {
 public:
  // For outputs [begin, end) of a side of `from` pixels that becomes one of `to` pixels.
  // Throws InvalidInput where a side is not in 1..kLargestSide, or the range is empty or not in 0..to.
  TapPlan(Filter filter, std::int64_t from, std::int64_t to, std::int64_t begin, std::int64_t end);

  // Turns the order of the outputs round.
  void mirror();

  // The inputs that the outputs need: [begin(), end()).
  [[nodiscard]] std::int64_t begin() const { return begin_; }
  [[nodiscard]] std::int64_t end() const { return end_; }

  // The taps, for an input that begins with begin().
  [[nodiscard]] Taps taps() const {
    return {first_.data(), weights_.data(), static_cast<std::int64_t>(first_.size()), count_};
  }

 private:
  std::int64_t begin_ = 0, end_ = 0, count_ = 0;
  std::vector<std::int32_t> first_, weights_;
};

}  // namespace mezzotint
