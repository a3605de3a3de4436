// Is the gradient of a whole weight right, with columns in pairs or without, to the last bit? Of small integers, of
// which every sum is exact, and on any number of threads.
#include <algorithm>

#include "drive/activations.hpp"
#include "drive/conv2d.hpp"
#include "tests/check.hpp"
#include "tests/reference.hpp"

namespace mezzotint::tests {
namespace {

// Often one whose columns may go in pairs.
Conv any_window(Random& random) {
  Conv conv;
  conv.groups = pick(random, 1, 2);
  conv.in_per_group = pick(random, 1, 19);
  conv.out = pick(random, 1, 38) * conv.groups;
  conv.kernel_h = pick(random, 1, 3);
  conv.kernel_w = pick(random, 0, 3) ? 3 : 2;
  conv.stride_h = pick(random, 1, 2);
  conv.stride_w = pick(random, 0, 3) ? 1 : 2;
  conv.dilation_h = pick(random, 1, 2);
  conv.dilation_w = pick(random, 0, 3) ? 1 : 2;
  conv.top = pick(random, 0, 2);
  conv.bottom = pick(random, 0, 2);
  conv.left = pick(random, 0, 2);
  conv.right = pick(random, 0, 2);
  return conv;
}

void fill_with_integers(const OwnedTensor& tensor, Random& random) {
  const Tensor& t = tensor.view();
  for (std::int64_t i = 0; i < t.n * t.c * t.h * t.w; ++i) {
    tensor.set(i / t.w / t.h / t.c, i / t.w / t.h % t.c, i / t.w % t.h, i % t.w,
               static_cast<float>(pick(random, -8, 8)));
  }
}

void check_window(const Conv& conv, Dtype dtype, std::int64_t batch, Random& random, const Kernels& kernels) {
  using Order = OwnedTensor::Order;
  const Problem problem = with_nonzeros(conv, 1.0, random);
  const std::int64_t height = pick(random, 1, 12) + (conv.kernel_h - 1) * conv.dilation_h;
  const std::int64_t width = pick(random, 1, 40) + (conv.kernel_w - 1) * conv.dilation_w;
  const OwnedTensor x(dtype, batch, conv.in(), height, width, Order::kNchw);
  const OwnedTensor gy(dtype, batch, conv.out, problem.output_height(height), problem.output_width(width),
                       Order::kNchw);
  fill_with_integers(x, random);
  fill_with_integers(gy, random);
  const Halo padding{conv.top, conv.bottom, conv.left, conv.right};
  const Tensor &from = x.view(), &back = gy.view();
  const Activations packed_x(dtype, false, blocks_of(batch, dtype), from.c, from.h, from.w, padding);
  const Activations packed_gy(dtype, false, blocks_of(batch, dtype), back.c, back.h, back.w, {});
  pack(from, packed_x.view, {kernels, 1});
  pack(back, packed_gy.view, {kernels, 1});
  const auto sums = reference_weight_grad(x, gy, problem);
  for (const bool paired : {false, true}) {
    for (const int threads : {1, 3}) {
      std::vector<float> gradient(sums.size(), -1.0f);
      conv2d_dense_grad_packed(packed_x.view, packed_gy.view, gradient.data(), conv, paired, {kernels, threads});
      const bool same = std::equal(gradient.begin(), gradient.end(), sums.begin(),
                                   [](float result, const Sum& sum) { return result == sum.value; });
      CHECK(same, (paired ? "whole gradient, in pairs: " : "whole gradient: ") + describe(conv, from, dtype));
    }
  }
}

}  // namespace

void test_dense_grad(const Kernels& kernels) {
  Random random(7);
  for (int i = 0; i < 40; ++i) {
    check_window(any_window(random), static_cast<Dtype>(pick(random, 0, 2)), pick(random, 0, 40), random, kernels);
  }
}

}  // namespace mezzotint::tests
