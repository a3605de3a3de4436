// What are the kernels tested on? Random tensors of any type and memory order, and random sparse convolutions.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "core/tensor.hpp"

namespace mezzotint::tests {

using Random = std::mt19937;

std::int64_t pick(Random& random, std::int64_t low, std::int64_t high);

// A [N, C, H, W] tensor that owns exactly its memory, so that the address sanitizer sees every step outside.
class OwnedTensor {
 public:
  enum class Order { kNchw, kNhwc, kReversed, kGaps };

  OwnedTensor(Dtype dtype, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, Order order);

  [[nodiscard]] const Tensor& view() const { return view_; }
  [[nodiscard]] double get(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) const;
  void set(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, float value) const;
  void fill(Random& random) const;
  void fill(float value) const;

 private:
  std::vector<std::uint8_t> memory_;
  Tensor view_;
};

// A convolution with random nonzeros.
struct Problem {
  Conv conv;
  std::vector<float> values;
  std::vector<std::int32_t> indices, transposed;

  [[nodiscard]] SparseWeight weight(Dtype working) const;
  [[nodiscard]] std::vector<double> dense(Dtype working) const;
  [[nodiscard]] std::int64_t output_height(std::int64_t h) const;
  [[nodiscard]] std::int64_t output_width(std::int64_t w) const;
};

// Nonzeros of the density given, at random positions.
Problem with_nonzeros(const Conv& conv, double density, Random& random);

double rounded(float value, Dtype dtype);

std::string describe(const Conv& conv, const Tensor& x, Dtype dtype);

}  // namespace mezzotint::tests
