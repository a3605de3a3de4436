#include "plan/taps.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "core/error.hpp"

// Products and sums must be rounded one by one, as in Pillow's build, also where the CPU could fuse them.
#ifdef __clang__
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

namespace mezzotint {
namespace {

double box(double x) {
  return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double hamming(double x) {
  x = std::abs(x);
  if (x == 0.0) {
    return 1.0;
  }
  if (x >= 1.0) {
    return 0.0;
  }
  x *= std::numbers::pi;
  return std::sin(x) / x * (0.54F + 0.46F * std::cos(x));
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) {
    return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  }
  return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

double sinc(double x) {
  if (x == 0.0) {
    return 1.0;
  }
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) {
  return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

struct Kernel {
  double (*at)(double);
  double support;
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::kBox:
      return {box, 0.5};
    case Filter::kBilinear:
      return {bilinear, 1.0};
    case Filter::kHamming:
      return {hamming, 1.0};
    case Filter::kBicubic:
      return {bicubic, 2.0};
    case Filter::kLanczos:
      return {lanczos, 3.0};
  }
  throw InvalidInput("filter: received an unknown number; allowed: those of mezzotint.data.resize.FILTERS");
}

void require(bool condition, const char* name, std::int64_t received, const std::string& allowed) {
  if (!condition) {
    throw InvalidInput(std::string(name) + ": received " + std::to_string(received) + "; allowed: " + allowed);
  }
}

// The inputs of an output, [low, high), and where its centre lies among them.
struct Range {
  double centre;
  std::int64_t low, high;
};

std::int32_t fixed_point(double weight) {
  const double scaled = weight * (1 << kTapBits);
  return static_cast<std::int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

}  // namespace

TapPlan::TapPlan(Filter filter, std::int64_t from, std::int64_t to, std::int64_t begin, std::int64_t end) {
  const std::string sides = "1 to " + std::to_string(kLargestSide) + " pixels";
  require(from >= 1 && from <= kLargestSide, "side of the image", from, sides);
  require(to >= 1 && to <= kLargestSide, "side of the result", to, sides);
  require(begin >= 0 && begin < end, "first pixel of the window", begin, "0 up to its end");
  require(end <= to, "end of the window", end, "at most " + std::to_string(to) + ", the side of the result");
  const Kernel kernel = kernel_of(filter);
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double support = kernel.support * stretch, per_pixel = 1.0 / stretch;
  const auto range = [&](std::int64_t output) {
    const double centre = (static_cast<double>(output) + 0.5) * scale;
    return Range{centre, std::max(static_cast<std::int64_t>(centre - support + 0.5), std::int64_t{0}),
                 std::min(static_cast<std::int64_t>(centre + support + 0.5), from)};
  };
  begin_ = range(begin).low;
  end_ = range(end - 1).high;
  for (std::int64_t output = begin; output < end; ++output) {
    const Range inputs = range(output);
    count_ = std::max(count_, inputs.high - inputs.low);
  }
  first_.reserve(static_cast<std::size_t>(end - begin));
  weights_.resize(static_cast<std::size_t>((end - begin) * count_));
  std::vector<double> exact(static_cast<std::size_t>(count_));
  for (std::int64_t output = begin; output < end; ++output) {
    const auto [centre, low, high] = range(output);
    double total = 0.0;
    for (std::int64_t i = 0; i < high - low; ++i) {
      exact[static_cast<std::size_t>(i)] = kernel.at((static_cast<double>(i + low) - centre + 0.5) * per_pixel);
      total += exact[static_cast<std::size_t>(i)];
    }
    // Where fewer inputs count than elsewhere, others have a weight of zero: those behind, or before at the end.
    const std::int64_t first = std::min(low, end_ - count_);
    first_.push_back(static_cast<std::int32_t>(first - begin_));
    std::int32_t* const weights = weights_.data() + (output - begin) * count_ + (low - first);
    for (std::int64_t i = 0; i < high - low; ++i) {
      const double weight = exact[static_cast<std::size_t>(i)];
      weights[i] = fixed_point(total != 0.0 ? weight / total : weight);
    }
  }
}

void TapPlan::mirror() {
  std::reverse(first_.begin(), first_.end());
  for (auto low = weights_.begin(), high = weights_.end() - count_; low < high; low += count_, high -= count_) {
    std::swap_ranges(low, low + count_, high);
  }
}

}  // namespace mezzotint
