// Are outputs and gradients right for any size, stride, padding, dilation, grouping, density, type and memory order,
// and the same bits for one thread and for several?
#include <limits>

#include "drive/conv2d.hpp"
#include "tests/check.hpp"
#include "tests/compare.hpp"

namespace mezzotint::tests {
namespace {

using Order = OwnedTensor::Order;

Order any_order(Random& random) {
  return static_cast<Order>(pick(random, 0, 3));
}

Conv any_conv(Random& random) {
  Conv conv;
  conv.groups = pick(random, 1, 3);
  conv.in_per_group = pick(random, 1, 6);
  conv.out = conv.groups * pick(random, 1, 6);
  conv.kernel_h = pick(random, 1, 5);
  conv.kernel_w = pick(random, 1, 4);
  conv.stride_h = pick(random, 1, 3);
  conv.stride_w = pick(random, 1, 3);
  conv.dilation_h = pick(random, 1, 3);
  conv.dilation_w = pick(random, 1, 3);
  conv.top = pick(random, 0, 3);
  conv.bottom = pick(random, 0, 3);
  conv.left = pick(random, 0, 3);
  conv.right = pick(random, 0, 3);
  return conv;
}

struct Case {
  const Kernels& kernels;
  Problem problem;
  Dtype dtype;
  std::int64_t batch, height, width;
};

bool equal_bits(const OwnedTensor& a, const OwnedTensor& b) {
  const Tensor& t = a.view();
  for (std::int64_t i = 0; i < t.n * t.c * t.h * t.w; ++i) {
    const std::int64_t w = i % t.w, h = i / t.w % t.h, c = i / t.w / t.h % t.c, n = i / t.w / t.h / t.c;
    if (a.get(n, c, h, w) != b.get(n, c, h, w)) {
      return false;
    }
  }
  return true;
}

void check_output(const Case& c, const OwnedTensor& x, OwnedTensor& y, OwnedTensor& again, Random& random,
                  const std::string& what) {
  std::vector<float> bias;
  if (pick(random, 0, 1)) {
    bias.assign(static_cast<std::size_t>(c.problem.conv.out), 0.75f);
  }
  const Vector view{bias.empty() ? nullptr : bias.data(), Dtype::kFloat32, c.problem.conv.out};
  conv2d_output(x.view(), c.problem.weight(c.dtype), view, y.view(), c.problem.conv, {c.kernels, 1});
  conv2d_output(x.view(), c.problem.weight(c.dtype), view, again.view(), c.problem.conv, {c.kernels, 3});
  const auto sums = reference_output(x, c.problem, c.dtype, bias, y.view().h, y.view().w);
  CHECK(near(y, sums), "output of " + what);
  CHECK(equal_bits(y, again), "output does not depend on threads: " + what);
}

void check_input_grad(const Case& c, const OwnedTensor& gy, OwnedTensor& gx, OwnedTensor& again,
                      const std::string& what) {
  conv2d_input_grad(gy.view(), c.problem.weight(c.dtype), gx.view(), c.problem.conv, {c.kernels, 1});
  conv2d_input_grad(gy.view(), c.problem.weight(c.dtype), again.view(), c.problem.conv, {c.kernels, 3});
  CHECK(near(gx, reference_input_grad(gy, c.problem, c.dtype, c.height, c.width)), "input gradient of " + what);
  CHECK(equal_bits(gx, again), "input gradient does not depend on threads: " + what);
}

void check_weight_grad(const Case& c, const OwnedTensor& x, const OwnedTensor& gy, const std::string& what) {
  const auto nnz = static_cast<std::int64_t>(c.problem.indices.size());
  std::vector<float> one(c.problem.indices.size(), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> three = one;
  const SparseWeight weight = c.problem.weight(Dtype::kFloat32);
  conv2d_weight_grad(x.view(), gy.view(), weight, {one.data(), Dtype::kFloat32, nnz}, c.problem.conv, {c.kernels, 1});
  conv2d_weight_grad(x.view(), gy.view(), weight, {three.data(), Dtype::kFloat32, nnz}, c.problem.conv, {c.kernels, 3});
  const auto sums = reference_weight_grad(x, gy, c.problem);
  for (std::size_t k = 0; k < sums.size(); ++k) {
    if (!CHECK(near(one[k], sums[k], Dtype::kFloat32), "weight gradient of " + what) ||
        !CHECK(one[k] == three[k], "weight gradient does not depend on threads: " + what)) {
      return;
    }
  }
}

void check_case(const Case& c, Random& random) {
  const Conv& conv = c.problem.conv;
  const std::int64_t out_h = c.problem.output_height(c.height), out_w = c.problem.output_width(c.width);
  OwnedTensor x(c.dtype, c.batch, conv.in(), c.height, c.width, any_order(random));
  OwnedTensor y(c.dtype, c.batch, conv.out, out_h, out_w, any_order(random));
  OwnedTensor gy(c.dtype, c.batch, conv.out, out_h, out_w, any_order(random));
  OwnedTensor gx(c.dtype, c.batch, conv.in(), c.height, c.width, any_order(random));
  x.fill(random);
  gy.fill(random);
  OwnedTensor y_again(c.dtype, c.batch, conv.out, out_h, out_w, Order::kNchw);
  OwnedTensor gx_again(c.dtype, c.batch, conv.in(), c.height, c.width, Order::kNchw);
  for (OwnedTensor* result : {&y, &y_again, &gx, &gx_again}) {
    result->fill(std::numeric_limits<float>::quiet_NaN());
  }
  const std::string what = describe(conv, x.view(), c.dtype);
  check_output(c, x, y, y_again, random, what);
  check_input_grad(c, gy, gx, gx_again, what);
  check_weight_grad(c, x, gy, what);
}

Case any_case(const Kernels& kernels, Random& random) {
  const double densities[] = {0.0, 0.05, 0.3, 1.0};
  Case c{kernels, with_nonzeros(any_conv(random), densities[pick(random, 0, 3)], random), Dtype::kFloat32, 0, 0, 0};
  const Conv& conv = c.problem.conv;
  c.dtype = static_cast<Dtype>(pick(random, 0, 2));
  c.batch = pick(random, 0, 33);
  c.height = pick(random, 1, 9) + (conv.kernel_h - 1) * conv.dilation_h;
  c.width = pick(random, 1, 18) + (conv.kernel_w - 1) * conv.dilation_w;
  return c;
}

Conv shape(std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  Conv conv;
  conv.out = out;
  conv.in_per_group = in;
  conv.kernel_h = conv.kernel_w = kernel;
  conv.stride_h = conv.stride_w = stride;
  conv.top = conv.bottom = conv.left = conv.right = padding;
  return conv;
}

// Large enough for several threads, parts, bands, chunks and pieces.
void check_large(const Kernels& kernels, Random& random) {
  check_case({kernels, with_nonzeros(shape(40, 70, 3, 1, 1), 0.2, random), Dtype::kFloat32, 20, 8, 8}, random);
  check_case({kernels, with_nonzeros(shape(24, 33, 3, 2, 1), 0.3, random), Dtype::kBFloat16, 33, 15, 17}, random);
  check_case({kernels, with_nonzeros(shape(300, 200, 1, 1, 0), 0.1, random), Dtype::kFloat32, 130, 1, 1}, random);
  check_case({kernels, with_nonzeros(shape(3, 2, 3, 1, 1), 1.0, random), Dtype::kFloat32, 70, 60, 62}, random);
  check_case({kernels, with_nonzeros(shape(8, 8, 3, 1, 1), 0.3, random), Dtype::kFloat32, 4, 60, 60}, random);
  check_case({kernels, with_nonzeros(shape(40, 24, 1, 1, 0), 0.2, random), Dtype::kBFloat16, 3, 170, 130}, random);
  Conv depthwise = shape(32, 1, 3, 1, 1);
  depthwise.groups = 32;
  check_case({kernels, with_nonzeros(depthwise, 0.5, random), Dtype::kFloat16, 17, 9, 9}, random);
}

}  // namespace

void test_conv2d(const Kernels& kernels) {
  Random random(2);
  for (int i = 0; i < 120; ++i) {
    check_case(any_case(kernels, random), random);
  }
  check_large(kernels, random);
}

}  // namespace mezzotint::tests
