// Do the entry points on packed activations agree with those on tensors, epilogue and wide halos included?
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "drive/activations.hpp"
#include "drive/conv2d.hpp"
#include "tests/check.hpp"
#include "tests/compare.hpp"

namespace mezzotint::tests {
namespace {

constexpr std::int64_t kLanes = 16, kBatch = 21, kBlocks = 2, kHeight = 9, kWidth = 11;

struct Setting {
  Problem problem;
  std::int64_t out_h, out_w;
  OwnedTensor x, gy;
};

Setting setting(Random& random, std::int64_t stride) {
  Conv conv;
  conv.out = 5;
  conv.in_per_group = 4;
  conv.kernel_h = conv.kernel_w = 3;
  conv.stride_h = conv.stride_w = stride;
  conv.top = conv.left = 1;
  conv.bottom = conv.right = 1;
  const Problem problem = with_nonzeros(conv, 0.4, random);
  const std::int64_t h = problem.output_height(kHeight), w = problem.output_width(kWidth);
  using Order = OwnedTensor::Order;
  Setting s{problem, h, w, OwnedTensor(Dtype::kFloat32, kBatch, 4, kHeight, kWidth, Order::kNchw),
            OwnedTensor(Dtype::kFloat32, kBatch, 5, h, w, Order::kNchw)};
  s.x.fill(random);
  s.gy.fill(random);
  return s;
}

Activations packed(const OwnedTensor& tensor, const Halo& halo, const Context& with) {
  const Tensor& t = tensor.view();
  Activations activations(t.dtype, false, blocks_of(t.n, t.dtype), t.c, t.h, t.w, halo);
  pack(t, activations.view, with);
  return activations;
}

// relu(conv * scale + shift + residual), all of the epilogue at once.
void check_epilogue(const Setting& s, const Context& with) {
  const std::vector<float> scale{0.5f, -1.0f, 2.0f, 1.0f, 0.0f}, shift{0.1f, 0.2f, -0.3f, 0.0f, 1.0f};
  const Activations x = packed(s.x, {2, 1, 3, 1}, with), residual = packed(s.gy, {0, 1, 1, 0}, with);
  const Activations y(Dtype::kFloat32, false, kBlocks, 5, s.out_h, s.out_w, {1, 2, 0, 1});
  std::memset(y.view.data, 0x41, static_cast<std::size_t>(cells_of(y.view)) * sizeof(Cell));
  Epilogue epilogue;
  epilogue.scale = scale.data();
  epilogue.shift = shift.data();
  epilogue.residual = {cell_at(residual.view, 0, 0, 0, 0), residual.view.block, residual.view.row,
                       residual.view.channel};
  epilogue.relu = true;
  conv2d_output_packed(x.view, s.problem.weight(Dtype::kFloat32), nullptr, epilogue, y.view, s.problem.conv, nullptr,
                       with);
  clear_borders(y.view, kBatch, 2);
  const auto sums = reference_output(s.x, s.problem, Dtype::kFloat32, {}, s.out_h, s.out_w);
  bool good = true;
  for (std::int64_t n = 0; n < kBlocks * kLanes; ++n) {
    for (std::int64_t c = 0; c < 5; ++c) {
      for (std::int64_t h = -1; h < s.out_h + 2; ++h) {
        for (std::int64_t w = 0; w < s.out_w + 1; ++w) {
          double expected = 0.0;
          if (n < kBatch && h >= 0 && h < s.out_h && w < s.out_w) {
            const auto at = static_cast<std::size_t>(((n * 5 + c) * s.out_h + h) * s.out_w + w);
            const auto o = static_cast<std::size_t>(c);
            expected = std::max(0.0, sums[at].value * scale[o] + shift[o] + s.gy.get(n, c, h, w));
          }
          const double result = reinterpret_cast<const float*>(cell_at(y.view, n / kLanes, h, c, w))[n % kLanes];
          good = good && std::abs(result - expected) < 1e-5;
        }
      }
    }
  }
  CHECK(good, "epilogue");
}

void check_gradients(const Setting& s, const Context& with) {
  const Halo halo = grad_halo(s.problem.conv, {kHeight, kWidth}, {s.out_h, s.out_w});
  const Activations x = packed(s.x, {1, 2, 1, 1}, with);
  const Activations gy = packed(s.gy, {halo.top + 1, halo.bottom, halo.left, halo.right + 2}, with);
  const Activations gx(Dtype::kFloat32, false, kBlocks, 4, kHeight, kWidth, {1, 1, 1, 1});
  conv2d_input_grad_packed(gy.view, s.problem.weight(Dtype::kFloat32), {}, gx.view, s.problem.conv, nullptr, with);
  OwnedTensor result(Dtype::kFloat32, kBatch, 4, kHeight, kWidth, OwnedTensor::Order::kNchw);
  unpack(gx.view, result.view(), with);
  CHECK(near(result, reference_input_grad(s.gy, s.problem, Dtype::kFloat32, kHeight, kWidth)), "packed input gradient");
  std::vector<float> gvalues(s.problem.values.size());
  conv2d_weight_grad_packed(x.view, gy.view, s.problem.weight(Dtype::kFloat32),
                            {gvalues.data(), Dtype::kFloat32, static_cast<std::int64_t>(gvalues.size())},
                            s.problem.conv, with);
  const auto sums = reference_weight_grad(s.x, s.gy, s.problem);
  for (std::size_t k = 0; k < sums.size(); ++k) {
    CHECK(near(gvalues[k], sums[k], Dtype::kFloat32), "packed weight gradient");
  }
}

// A pointwise convolution's gradients in one pass against those of the output gradient written down; its output
// gradient is 0.5 * g + 0.25 * y - 1. Wide enough for several strips, the last of them narrower.
void check_backward(Random& random, const Context& with) {
  constexpr std::int64_t kWide = 31, kIn = 6, kOut = 7;
  Conv conv;
  conv.out = kOut;
  conv.in_per_group = kIn;
  const Problem problem = with_nonzeros(conv, 0.5, random);
  using Order = OwnedTensor::Order;
  OwnedTensor x(Dtype::kFloat32, kBatch, kIn, kHeight, kWide, Order::kNchw);
  OwnedTensor g(Dtype::kFloat32, kBatch, kOut, kHeight, kWide, Order::kNchw);
  OwnedTensor y(Dtype::kFloat32, kBatch, kOut, kHeight, kWide, Order::kNchw);
  OwnedTensor gy(Dtype::kFloat32, kBatch, kOut, kHeight, kWide, Order::kNchw);
  for (OwnedTensor* tensor : {&x, &g, &y}) {
    tensor->fill(random);
  }
  for (std::int64_t i = 0; i < kBatch * kOut * kHeight * kWide; ++i) {
    const std::int64_t w = i % kWide, h = i / kWide % kHeight, c = i / kWide / kHeight % kOut,
                       n = i / kWide / kHeight / kOut;
    gy.set(n, c, h, w, 0.5f * g.get(n, c, h, w) + 0.25f * y.get(n, c, h, w) - 1.0f);
  }
  const std::vector<float> scale(kOut, 0.5f), companion(kOut, 0.25f), constant(kOut, -1.0f);
  const Activations packed_x = packed(x, {1, 0, 2, 1}, with), packed_g = packed(g, {0, 1, 1, 0}, with),
                    packed_y = packed(y, {}, with);
  const Activations gx(Dtype::kFloat32, false, kBlocks, kIn, kHeight, kWide, {1, 1, 1, 1});
  NormaliseJob job{};
  job.x = packed_g.view;
  job.scale = scale.data();
  job.shift = constant.data();
  job.other = packed_y.view;
  job.other_scale = companion.data();
  job.batch = kBatch;
  std::vector<float> gvalues(problem.values.size());
  conv2d_backward_packed(job, packed_x.view, problem.weight(Dtype::kFloat32), {}, gx.view,
                         {gvalues.data(), Dtype::kFloat32, static_cast<std::int64_t>(gvalues.size())}, conv, nullptr,
                         with);
  OwnedTensor result(Dtype::kFloat32, kBatch, kIn, kHeight, kWide, Order::kNchw);
  unpack(gx.view, result.view(), with);
  CHECK(near(result, reference_input_grad(gy, problem, Dtype::kFloat32, kHeight, kWide)), "input gradient in one pass");
  const auto sums = reference_weight_grad(x, gy, problem);
  for (std::size_t k = 0; k < sums.size(); ++k) {
    CHECK(near(gvalues[k], sums[k], Dtype::kFloat32), "weight gradient in one pass");
  }
}

}  // namespace

void test_packed(const Kernels& kernels) {
  Random random(3);
  check_backward(random, {kernels, 2});
  for (const std::int64_t stride : {1, 2}) {
    const Setting s = setting(random, stride);
    check_epilogue(s, {kernels, 2});
    check_gradients(s, {kernels, 2});
  }
}

}  // namespace mezzotint::tests
