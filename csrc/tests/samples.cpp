#include "tests/samples.hpp"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace mezzotint::tests {

std::int64_t pick(Random& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

OwnedTensor::OwnedTensor(Dtype dtype, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, Order order)
    : view_{nullptr, dtype, n, c, h, w} {
  const std::int64_t gap = order == Order::kGaps ? 2 : 1;
  switch (order) {
    case Order::kNchw:
    case Order::kGaps:
      view_.stride_w = gap;
      view_.stride_h = w * gap;
      view_.stride_c = h * view_.stride_h;
      view_.stride_n = c * view_.stride_c;
      break;
    case Order::kNhwc:
      view_.stride_c = 1;
      view_.stride_w = c;
      view_.stride_h = w * c;
      view_.stride_n = h * w * c;
      break;
    case Order::kReversed:
      view_.stride_n = 1;
      view_.stride_c = n;
      view_.stride_h = n * c;
      view_.stride_w = n * c * h;
      break;
  }
  const std::int64_t count = n * c * h * w;
  memory_.resize(static_cast<std::size_t>((count > 0 ? (count - 1) * gap + 1 : 0) * size_of(dtype)));
  view_.data = memory_.data();
}

double OwnedTensor::get(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) const {
  const std::int64_t at = n * view_.stride_n + c * view_.stride_c + h * view_.stride_h + w * view_.stride_w;
  switch (view_.dtype) {
    case Dtype::kBFloat16:
      return widen(static_cast<const BFloat16*>(view_.data)[at]);
    case Dtype::kFloat16:
      return widen(static_cast<const Float16*>(view_.data)[at]);
    default:
      return static_cast<const float*>(view_.data)[at];
  }
}

void OwnedTensor::set(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, float value) const {
  const std::int64_t at = n * view_.stride_n + c * view_.stride_c + h * view_.stride_h + w * view_.stride_w;
  switch (view_.dtype) {
    case Dtype::kBFloat16:
      return narrow(value, static_cast<BFloat16*>(view_.data)[at]);
    case Dtype::kFloat16:
      return narrow(value, static_cast<Float16*>(view_.data)[at]);
    default:
      return narrow(value, static_cast<float*>(view_.data)[at]);
  }
}

void OwnedTensor::fill(Random& random) const {
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < view_.n * view_.c * view_.h * view_.w; ++i) {
    const std::int64_t w = i % view_.w, h = i / view_.w % view_.h, c = i / view_.w / view_.h % view_.c;
    set(i / view_.w / view_.h / view_.c, c, h, w, normal(random));
  }
}

void OwnedTensor::fill(float value) const {
  for (std::int64_t i = 0; i < view_.n * view_.c * view_.h * view_.w; ++i) {
    const std::int64_t w = i % view_.w, h = i / view_.w % view_.h, c = i / view_.w / view_.h % view_.c;
    set(i / view_.w / view_.h / view_.c, c, h, w, value);
  }
}

SparseWeight Problem::weight(Dtype working) const {
  SparseWeight weight{values.data(), Dtype::kFloat32, 1, working, indices.data(), transposed.data()};
  weight.nnz = static_cast<std::int64_t>(indices.size());
  return weight;
}

std::vector<double> Problem::dense(Dtype working) const {
  std::vector<double> dense(static_cast<std::size_t>(conv.out * conv.row()), 0.0);
  for (std::size_t k = 0; k < indices.size(); ++k) {
    dense[static_cast<std::size_t>(indices[k])] = rounded(values[k], working);
  }
  return dense;
}

std::int64_t Problem::output_height(std::int64_t h) const {
  return (h + conv.top + conv.bottom - (conv.kernel_h - 1) * conv.dilation_h - 1) / conv.stride_h + 1;
}

std::int64_t Problem::output_width(std::int64_t w) const {
  return (w + conv.left + conv.right - (conv.kernel_w - 1) * conv.dilation_w - 1) / conv.stride_w + 1;
}

Problem with_nonzeros(const Conv& conv, double density, Random& random) {
  Problem problem{conv, {}, {}, {}};
  std::bernoulli_distribution present(density);
  std::normal_distribution<float> normal;
  for (std::int32_t i = 0; i < conv.out * conv.row(); ++i) {
    if (present(random)) {
      problem.indices.push_back(i);
      problem.values.push_back(normal(random));
    }
  }
  problem.transposed.resize(problem.indices.size());
  std::iota(problem.transposed.begin(), problem.transposed.end(), 0);
  const auto channel = [&](std::int32_t k) {
    return problem.indices[static_cast<std::size_t>(k)] % conv.row() / conv.taps();
  };
  std::stable_sort(problem.transposed.begin(), problem.transposed.end(),
                   [&](std::int32_t a, std::int32_t b) { return channel(a) < channel(b); });
  return problem;
}

double rounded(float value, Dtype dtype) {
  return dtype == Dtype::kBFloat16  ? rounded_to<BFloat16>(value)
         : dtype == Dtype::kFloat16 ? rounded_to<Float16>(value)
                                    : value;
}

std::string describe(const Conv& conv, const Tensor& x, Dtype dtype) {
  std::ostringstream text;
  text << "x " << x.n << "," << x.c << "," << x.h << "," << x.w << " weight " << conv.out << "," << conv.in_per_group
       << "," << conv.kernel_h << "," << conv.kernel_w << " stride " << conv.stride_h << "," << conv.stride_w
       << " padding " << conv.top << "," << conv.bottom << "," << conv.left << "," << conv.right << " dilation "
       << conv.dilation_h << "," << conv.dilation_w << " groups " << conv.groups << " dtype "
       << static_cast<int>(dtype);
  return text.str();
}

}  // namespace mezzotint::tests
