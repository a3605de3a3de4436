// How near must a result come? A bound that holds for any order of summation: each of the n additions and products
// rounds by at most half a unit (2^-24) of the sum of magnitudes; storing rounds once more to the type of the result.
#pragma once

#include <cmath>

#include "tests/reference.hpp"

namespace mezzotint::tests {

inline double storage_error(Dtype dtype) {
  return dtype == Dtype::kBFloat16 ? 0x1p-8 : dtype == Dtype::kFloat16 ? 0x1p-11 : 0x1p-24;
}

inline bool near(double result, const Sum& sum, Dtype dtype) {
  const double summing = static_cast<double>(sum.terms + 1) * 0x1p-23 * sum.magnitude;
  const double storing = storage_error(dtype) * (std::abs(sum.value) + summing);
  const double subnormal = dtype == Dtype::kFloat16 ? 0x1p-25 : 0.0;
  return std::abs(result - sum.value) <= summing + storing + subnormal;
}

inline bool near(const OwnedTensor& result, const std::vector<Sum>& sums) {
  const Tensor& t = result.view();
  for (std::size_t k = 0; k < sums.size(); ++k) {
    const auto i = static_cast<std::int64_t>(k);
    const std::int64_t w = i % t.w, h = i / t.w % t.h, c = i / t.w / t.h % t.c;
    if (!near(result.get(i / t.w / t.h / t.c, c, h, w), sums[k], t.dtype)) {
      return false;
    }
  }
  return true;
}

}  // namespace mezzotint::tests
