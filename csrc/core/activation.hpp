// What happens to a sum before it is stored? A curve, and then bounds.
#pragma once

#include <cstdint>
#include <limits>

namespace mezzotint {

// As PyTorch's functions of these names; kNone is the identity.
enum class Curve : std::int32_t { kNone, kLeakyRelu, kSigmoid, kSilu, kHardSigmoid, kHardSwish, kMish };
constexpr std::int32_t kCurves = 7;

// clamp(curve(x), low, high), and then the nearest multiple of `step` unless that is zero; a half goes to the even one.
// A NaN stays one.
struct Activation {
  Curve curve = Curve::kNone;
  float slope = 0.0f;  // of kLeakyRelu below zero
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  float step = 0.0f;  // a bound is less than 2^22 steps
};

}  // namespace mezzotint
