// How is an activation applied to a vector of sums? Bounds in place; curves apart, as few layers have them.
#pragma once

#include "core/activation.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

inline MEZZOTINT_INLINE Vec clamped(Vec v, Vec low, Vec high) {
  v = v < low ? low : v;  // keeps NaN
  return v > high ? high : v;
}

constexpr float kRounds = 12582912.0f;  // 1.5 * 2^23: what is added to it becomes whole

// e to the x within two units in the last place, for |x| up to 87; beyond, that of 87. Cephes' expf: a power of two,
// and a polynomial for what is left of the exponent.
inline MEZZOTINT_INLINE Vec exp_of(Vec x) {
  x = clamped(x, broadcast(-87.0f), broadcast(87.0f));
  const Vec shifted = x * broadcast(1.44269504f) + broadcast(kRounds);
  const Vec whole = shifted - broadcast(kRounds);
  const Vec r = x - whole * broadcast(0.693359375f) - whole * broadcast(-2.12194440e-4f);
  Vec p = broadcast(1.9875691500e-4f);
  p = p * r + broadcast(1.3981999507e-3f);
  p = p * r + broadcast(8.3334519073e-3f);
  p = p * r + broadcast(4.1665795894e-2f);
  p = p * r + broadcast(1.6666665459e-1f);
  p = p * r + broadcast(5.0000001201e-1f);
  p = p * (r * r) + r + broadcast(1.0f);
  return reinterpret_cast<Vec>(reinterpret_cast<Bits>(p) + (reinterpret_cast<Bits>(shifted) << 23));
}

inline MEZZOTINT_INLINE Vec sigmoid_of(Vec x) {
  return broadcast(1.0f) / (broadcast(1.0f) + exp_of(-x));
}

inline MEZZOTINT_INLINE Vec hard_sigmoid_of(Vec x) {
  return clamped(x + broadcast(3.0f), Vec{}, broadcast(6.0f)) * broadcast(1.0f / 6.0f);
}

// x * tanh(ln(1 + e^x)), as a quotient in e^x.
inline MEZZOTINT_INLINE Vec mish_of(Vec x) {
  const Vec e = exp_of(clamped(x, broadcast(-87.0f), broadcast(20.0f)));  // from there on the quotient is 1
  const Vec n = e * (e + broadcast(2.0f));
  return x * (n / (n + broadcast(2.0f)));
}

// A call and not part of its callers, whose loops keep their registers.
[[gnu::noinline]] Vec curved(Vec x, Curve curve, float slope) {
  Vec y = x;
  switch (curve) {
    case Curve::kNone:
      break;
    case Curve::kLeakyRelu:
      y = x < Vec{} ? x * broadcast(slope) : x;
      break;
    case Curve::kSigmoid:
      y = sigmoid_of(x);
      break;
    case Curve::kSilu:
      y = x * sigmoid_of(x);
      break;
    case Curve::kHardSigmoid:
      y = hard_sigmoid_of(x);
      break;
    case Curve::kHardSwish:
      y = x * hard_sigmoid_of(x);
      break;
    case Curve::kMish:
      y = mish_of(x);
      break;
  }
  return x != x ? x : y;
}

// Applies `after` to all vectors that `each` goes through.
template <class Each>
inline MEZZOTINT_INLINE void activate(const Activation& after, const Each& each) {
  if (after.curve != Curve::kNone) {
    each([&](Vec& v) MEZZOTINT_INLINE { v = curved(v, after.curve, after.slope); });
  }
  // Few layers have an upper bound, and some have none: a sum of a few nonzeros is not worth the comparisons.
  if (after.low > -__builtin_inff()) {
    const Vec low = broadcast(after.low);
    each([&](Vec& v) MEZZOTINT_INLINE { v = v < low ? low : v; });
  }
  if (after.high < __builtin_inff()) {
    const Vec high = broadcast(after.high);
    each([&](Vec& v) MEZZOTINT_INLINE { v = v > high ? high : v; });
  }
  if (after.step > 0.0f) {
    const Vec step = broadcast(after.step);
    each([&](Vec& v) MEZZOTINT_INLINE { v = (v / step + broadcast(kRounds) - broadcast(kRounds)) * step; });
  }
}

}  // namespace
}  // namespace mezzotint
