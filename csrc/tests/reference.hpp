// What is the right answer? A convolution and its gradients by their definition, in double precision.
#pragma once

#include <functional>

#include "tests/samples.hpp"

namespace mezzotint::tests {

// A sum and the sum of its terms' magnitudes, which bounds the rounding error of any order of summation.
struct Sum {
  double value = 0.0, magnitude = 0.0;
  std::int64_t terms = 0;
};

// The [N, C, H, W] results in row-major order.
std::vector<Sum> reference_output(const OwnedTensor& x, const Problem& problem, Dtype working,
                                  const std::vector<float>& bias, std::int64_t height, std::int64_t width);
std::vector<Sum> reference_input_grad(const OwnedTensor& gy, const Problem& problem, Dtype working, std::int64_t height,
                                      std::int64_t width);
// At the nonzeros, in their order.
std::vector<Sum> reference_weight_grad(const OwnedTensor& x, const OwnedTensor& gy, const Problem& problem);

}  // namespace mezzotint::tests
