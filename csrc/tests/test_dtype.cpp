// Are the 16-bit types rounded to nearest even, with infinities, NaN and subnormals right?
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/dtype.hpp"
#include "tests/check.hpp"

namespace mezzotint::tests {
namespace {

// The value of an FP16 pattern by its definition.
double half_by_definition(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25));
}

std::uint16_t half_bits(float value) {
  Float16 to;
  narrow(value, to);
  return to.bits;
}

std::uint16_t brain_bits(float value) {
  BFloat16 to;
  narrow(value, to);
  return to.bits;
}

void check_halves() {
  for (unsigned bits = 0; bits < 0x7c00; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const float value = widen(Float16{pattern});
    CHECK(value == half_by_definition(pattern), "widening " + std::to_string(bits));
    CHECK(half_bits(value) == pattern && half_bits(-value) == (pattern | 0x8000u), "narrowing " + std::to_string(bits));
    if (bits == 0x7bff) {
      continue;  // the neighbour is infinity
    }
    // Half-way to the next number goes to the even one; a little more or less to the nearer one.
    const float next = widen(Float16{static_cast<std::uint16_t>(bits + 1)});
    const float middle = (value + next) / 2;
    CHECK(half_bits(middle) == bits + (bits & 1), "tie after " + std::to_string(bits));
    CHECK(half_bits(std::nextafter(middle, 0.0f)) == bits, "below the tie after " + std::to_string(bits));
    CHECK(half_bits(std::nextafter(middle, 1e9f)) == bits + 1, "above the tie after " + std::to_string(bits));
  }
}

}  // namespace

void test_dtype() {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  check_halves();
  CHECK(half_bits(65519.996f) == 0x7bff, "largest half");
  CHECK(half_bits(65520.0f) == 0x7c00 && half_bits(1e30f) == 0x7c00 && half_bits(-1e30f) == 0xfc00, "half overflow");
  CHECK(half_bits(infinity) == 0x7c00 && widen(Float16{0x7c00}) == infinity, "half infinity");
  CHECK((half_bits(nan) & 0x7fff) > 0x7c00 && std::isnan(widen(Float16{0x7e01})), "half NaN");
  CHECK(brain_bits(1.0f) == 0x3f80 && brain_bits(-2.0f) == 0xc000, "bfloat16 exact");
  CHECK(brain_bits(float_of(0x3f808000)) == 0x3f80 && brain_bits(float_of(0x3f818000)) == 0x3f82, "bfloat16 ties");
  CHECK(brain_bits(float_of(0x3f808001)) == 0x3f81 && brain_bits(float_of(0x3f807fff)) == 0x3f80, "bfloat16 nearest");
  CHECK(brain_bits(3.4e38f) == 0x7f80 && brain_bits(infinity) == 0x7f80, "bfloat16 overflow and infinity");
  CHECK((brain_bits(float_of(0x7f800001)) & 0x7fff) > 0x7f80, "bfloat16 NaN");
}

}  // namespace mezzotint::tests
