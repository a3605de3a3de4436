// Does a matrix unit compute what the vectors do? Shapes of several parts, passes, phases and tasks, ragged ones too,
// with all that may follow a sum, and the same bits on any number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "drive/activations.hpp"
#include "drive/conv2d.hpp"
#include "isa/select.hpp"
#include "plan/matrices.hpp"
#include "tests/check.hpp"
#include "tests/compare.hpp"

namespace mezzotint::tests {
namespace {

constexpr Dtype kType = Dtype::kBFloat16;

struct Shape {
  std::int64_t out, in, kernel, stride, dilation, padding;
  double density;
  std::int64_t batch;
};

// The comments say what is special.
constexpr Shape kShapes[] = {
    {32, 32, 1, 1, 1, 0, 0.5, 65},   // blocks of images
    {40, 70, 3, 1, 1, 1, 0.3, 33},   // ragged on either side
    {64, 32, 3, 2, 1, 1, 0.4, 33},   // phases of 4, 2, 2 and 1 taps
    {32, 64, 1, 2, 1, 0, 0.7, 32},   // phases without taps
    {32, 320, 1, 1, 1, 0, 0.2, 7},   // two parts
    {544, 32, 1, 1, 1, 0, 0.2, 7},   // two passes over the outputs, and over the inputs of the gradient
    {96, 64, 3, 1, 2, 2, 0.2, 5},    //
    {64, 288, 5, 1, 1, 1, 0.15, 1},  // a gradient of two tasks
};

Conv conv_of(const Shape& shape) {
  Conv conv;
  conv.out = shape.out;
  conv.in_per_group = shape.in;
  conv.kernel_h = conv.kernel_w = shape.kernel;
  conv.stride_h = conv.stride_w = shape.stride;
  conv.dilation_h = conv.dilation_w = shape.dilation;
  conv.top = conv.bottom = conv.left = conv.right = shape.padding;
  return conv;
}

Activations packed(const OwnedTensor& tensor, const Halo& halo, const Context& with) {
  const Tensor& t = tensor.view();
  Activations activations(kType, false, blocks_of(t.n, kType), t.c, t.h, t.w, halo);
  pack(t, activations.view, with);
  return activations;
}

OwnedTensor tensor(std::int64_t batch, std::int64_t channels, std::int64_t height, std::int64_t width, Random& random) {
  OwnedTensor made(kType, batch, channels, height, width, OwnedTensor::Order::kNchw);
  made.fill(random);
  return made;
}

bool same_bits(const Activations& one, const Activations& other) {
  return std::memcmp(one.view.data, other.view.data, static_cast<std::size_t>(cells_of(one.view) * kCellBytes)) == 0;
}

// What beside the sums a result has been asked for.
struct Found {
  Activations result;
  std::vector<double> totals;
};

void check_found(const Found& one, const Found& vectors, const Found& three, const OwnedTensor& like,
                 const std::string& what) {
  OwnedTensor a(kType, like.view().n, like.view().c, like.view().h, like.view().w, OwnedTensor::Order::kNchw);
  OwnedTensor b(kType, like.view().n, like.view().c, like.view().h, like.view().w, OwnedTensor::Order::kNchw);
  const Context any{*runnable().front(), 1};
  unpack(one.result.view, a.view(), any);
  unpack(vectors.result.view, b.view(), any);
  const Tensor& t = a.view();
  bool close = true;
  for (std::int64_t i = 0; i < t.n * t.c * t.h * t.w; ++i) {
    const std::int64_t w = i % t.w, h = i / t.w % t.h, c = i / t.w / t.h % t.c, n = i / t.w / t.h / t.c;
    close = close && std::abs(a.get(n, c, h, w) - b.get(n, c, h, w)) < 0.01 * (1.0 + std::abs(b.get(n, c, h, w)));
  }
  CHECK(close, what + ": as vectors compute it");
  for (std::size_t i = 0; i < one.totals.size(); ++i) {
    close = close && std::abs(one.totals[i] - vectors.totals[i]) < 0.01 * (10.0 + std::abs(vectors.totals[i]));
  }
  CHECK(close, what + ": totals");
  CHECK(same_bits(one.result, three.result) && one.totals == three.totals, what + ": any number of threads");
}

// relu(v * scale + residual), masked, with totals beside a companion.
struct Following {
  std::vector<float> scale;
  Activations beside;
  Epilogue epilogue;
  Following(const OwnedTensor& like, const Context& with)
      : scale(static_cast<std::size_t>(like.view().c), 0.5f), beside(packed(like, {1, 0, 0, 1}, with)) {
    const Beside all{cell_at(beside.view, 0, 0, 0, 0), beside.view.block, beside.view.row, beside.view.channel};
    epilogue.scale = scale.data();
    epilogue.residual = epilogue.mask = epilogue.companion = all;
    epilogue.relu = true;
  }
};

void check_shape(const Shape& shape, std::int64_t size, const Kernels& kernels, Random& random) {
  Kernels vectors = kernels;
  vectors.matrices = nullptr;
  const Conv conv = conv_of(shape);
  const Problem problem = with_nonzeros(conv, shape.density, random);
  const SparseWeight weight = problem.weight(kType);
  const std::int64_t height = size, width = size + 3;
  const std::int64_t out_h = problem.output_height(height), out_w = problem.output_width(width);
  const OwnedTensor x = tensor(shape.batch, conv.in(), height, width, random);
  const OwnedTensor gy = tensor(shape.batch, conv.out, out_h, out_w, random);
  const std::string what = describe(conv, x.view(), kType);
  CHECK(matrix_pays(conv.out, conv.row(), weight.nnz), "matrices are tested: " + what);
  const Context one{kernels, 1}, three{kernels, 3}, plain{vectors, 1};
  const Following after_y(gy, one), after_gx(x, one);
  const Activations packed_x = packed(x, {conv.top, conv.bottom, conv.left, conv.right}, one);
  const Activations packed_gy = packed(gy, grad_halo(conv, {height, width}, {out_h, out_w}), one);
  const auto output = [&](const Context& with) {
    Found found{packed(gy, {}, with), std::vector<double>(static_cast<std::size_t>(conv.out * 2))};
    conv2d_output_packed(packed_x.view, weight, nullptr, after_y.epilogue, found.result.view, conv, found.totals.data(),
                         with);
    return found;
  };
  check_found(output(one), output(plain), output(three), gy, "output of " + what);
  const auto input_grad = [&](const Context& with) {
    Found found{packed(x, {}, with), std::vector<double>(static_cast<std::size_t>(conv.in() * 2))};
    conv2d_input_grad_packed(packed_gy.view, weight, after_gx.epilogue, found.result.view, conv, found.totals.data(),
                             with);
    return found;
  };
  check_found(input_grad(one), input_grad(plain), input_grad(three), x, "input gradient of " + what);

  const std::int64_t weights = conv.out * conv.row();
  const auto sums = reference_weight_grad(x, gy, problem);
  std::vector<float> whole(static_cast<std::size_t>(weights)), again = whole, values(sums.size()),
                                                               values_again = values;
  conv2d_dense_grad_packed(packed_x.view, packed_gy.view, whole.data(), conv, false, one);
  conv2d_dense_grad_packed(packed_x.view, packed_gy.view, again.data(), conv, false, three);
  conv2d_weight_grad_packed(packed_x.view, packed_gy.view, weight, {values.data(), Dtype::kFloat32, weight.nnz}, conv,
                            one);
  conv2d_weight_grad_packed(packed_x.view, packed_gy.view, weight, {values_again.data(), Dtype::kFloat32, weight.nnz},
                            conv, three);
  std::vector<float> plain_values = values, plain_again = values;
  conv2d_weight_grad(x.view(), gy.view(), weight, {plain_values.data(), Dtype::kFloat32, weight.nnz}, conv, one);
  conv2d_weight_grad(x.view(), gy.view(), weight, {plain_again.data(), Dtype::kFloat32, weight.nnz}, conv, three);
  bool close = true;
  for (std::size_t k = 0; k < sums.size(); ++k) {
    close = close && near(values[k], sums[k], Dtype::kFloat32) && near(plain_values[k], sums[k], Dtype::kFloat32) &&
            near(whole[static_cast<std::size_t>(problem.indices[k])], sums[k], Dtype::kFloat32);
  }
  CHECK(close, "weight gradients of " + what);
  CHECK(whole == again && values == values_again && plain_values == plain_again,
        "weight gradients on any number of threads: " + what);
}

}  // namespace

void test_matrices(const Kernels& kernels) {
  if (!kernels.matrices) {
    return;
  }
  Random random(11);
  for (const Shape& shape : kShapes) {
    check_shape(shape, pick(random, 4, 8), kernels, random);
  }
}

}  // namespace mezzotint::tests
