// How are the three element types read, written and rounded, one number at a time?
//
// Every function is `static`: the ISA units include this file too, and an inline function with external linkage could
// be merged by the linker into one copy that uses instructions the running CPU does not have.
#pragma once

#include <cstdint>
#include <cstring>

namespace mezzotint {

enum class Dtype : int { kFloat32 = 0, kBFloat16 = 1, kFloat16 = 2, kInt32 = 3 };

// Storage of the 16-bit types; the struct keeps them apart for overloads and templates.
struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};

[[maybe_unused]] static std::int64_t size_of(Dtype dtype) {
  return dtype == Dtype::kFloat32 || dtype == Dtype::kInt32 ? 4 : 2;
}

[[maybe_unused]] static std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

[[maybe_unused]] static float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

[[maybe_unused]] static float widen(float value) {
  return value;
}

[[maybe_unused]] static float widen(BFloat16 value) {
  return float_of(static_cast<std::uint32_t>(value.bits) << 16);
}

[[maybe_unused]] static float widen(Float16 value) {
  constexpr std::uint32_t kExponent = 0x7c00u << 13;
  std::uint32_t bits = (value.bits & 0x7fffu) << 13;
  const std::uint32_t exponent = bits & kExponent;
  bits += (127u - 15u) << 23;
  if (exponent == kExponent) {
    bits += (128u - 16u) << 23;  // infinity and NaN
  } else if (exponent == 0) {
    bits = bits_of(float_of(bits + (1u << 23)) - float_of(113u << 23));  // zero and subnormals, by renormalisation
  }
  return float_of(bits | (value.bits & 0x8000u) << 16);
}

[[maybe_unused]] static void narrow(float value, float& to) {
  to = value;
}

// Round to nearest even; NaN stays a (quiet) NaN.
[[maybe_unused]] static void narrow(float value, BFloat16& to) {
  const std::uint32_t bits = bits_of(value);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const std::uint32_t rounded = nan ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
  to.bits = static_cast<std::uint16_t>(rounded >> 16);
}

// Round to nearest even; 65520 and more become infinity; NaN stays a (quiet) NaN.
[[maybe_unused]] static void narrow(float value, Float16& to) {
  const std::uint32_t all = bits_of(value);
  const std::uint32_t sign = (all >> 16) & 0x8000u;
  std::uint32_t bits = all & 0x7fffffffu;
  if (bits >= 0x47800000u) {  // at least 65536, infinity or NaN
    bits = bits > 0x7f800000u ? 0x7e00u : 0x7c00u;
  } else if (bits < 0x38800000u) {  // below the smallest normal number: let the float adder align and round
    constexpr std::uint32_t kHalf = 0x3f000000u;
    bits = bits_of(float_of(bits) + float_of(kHalf)) - kHalf;
  } else {
    const std::uint32_t odd = (bits >> 13) & 1u;
    bits = (bits - ((127u - 15u) << 23) + 0xfffu + odd) >> 13;
  }
  to.bits = static_cast<std::uint16_t>(bits | sign);
}

template <class T>
[[maybe_unused]] static float rounded_to(float value) {
  T stored;
  narrow(value, stored);
  return widen(stored);
}

}  // namespace mezzotint
