// Are windows pooled as their definition says, forward and backward, ties, infinities, NaN and wide halos included?
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "drive/activations.hpp"
#include "drive/pool.hpp"
#include "tests/check.hpp"
#include "tests/compare.hpp"

namespace mezzotint::tests {
namespace {

using Order = OwnedTensor::Order;

struct Setting {
  Dtype dtype;
  std::int64_t n, c, h, w, out_h, out_w;
  PoolWindow window;

  [[nodiscard]] OwnedTensor input() const { return {dtype, n, c, h, w, Order::kNchw}; }
  [[nodiscard]] OwnedTensor output() const { return {dtype, n, c, out_h, out_w, Order::kNchw}; }
};

// Sometimes one more window than fits, as in PyTorch's ceil_mode.
std::int64_t windows(Random& random, std::int64_t size, std::int64_t extent, std::int64_t stride, std::int64_t before) {
  const std::int64_t full = (size + 2 * before - extent) / stride + 1;
  return full * stride < size + before ? full + pick(random, 0, 1) : full;
}

Setting any_setting(Random& random, Dtype dtype) {
  PoolWindow v;
  v.kernel_h = pick(random, 1, 4);
  v.kernel_w = pick(random, 1, 5);
  v.stride_h = pick(random, 1, 3);
  v.stride_w = pick(random, 1, 3);
  v.top = pick(random, 0, v.kernel_h / 2);
  v.left = pick(random, 0, v.kernel_w / 2);
  v.dilation_h = pick(random, 1, 3);
  v.dilation_w = pick(random, 1, 2);
  const std::int64_t high = (v.kernel_h - 1) * v.dilation_h + 1, wide = (v.kernel_w - 1) * v.dilation_w + 1;
  const std::int64_t h = pick(random, high, high + 9), w = pick(random, wide, wide + 9);
  return {dtype,
          pick(random, 1, 70),
          pick(random, 1, 3),
          h,
          w,
          windows(random, h, high, v.stride_h, v.top),
          windows(random, w, wide, v.stride_w, v.left),
          v};
}

// Few different numbers, so that most windows have ties; -0 and infinities are among them.
void fill_with_ties(const OwnedTensor& x, Random& random, bool with_nan) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> numbers{-kInfinity, -kInfinity, -kInfinity, -kInfinity, -2.5f,        -2.5f,
                                   -0.0f,      0.0f,       1.0f,       kInfinity,  std::nanf("")};
  const Tensor& t = x.view();
  const std::int64_t last = with_nan ? 10 : 9;
  for (std::int64_t i = 0; i < t.n * t.c * t.h * t.w; ++i) {
    const std::int64_t w = i % t.w, h = i / t.w % t.h, c = i / t.w / t.h % t.c;
    const std::int64_t highest = pick(random, 0, 4) == 0 ? last : 7;
    x.set(i / t.w / t.h / t.c, c, h, w, numbers[static_cast<std::size_t>(pick(random, 0, highest))]);
  }
}

// Calls visit(n, c, output row, output column, the first maximum, its row and column), NaN being the largest number.
using Visit =
    std::function<void(std::int64_t, std::int64_t, std::int64_t, std::int64_t, double, std::int64_t, std::int64_t)>;
void each_maximum(const Setting& s, const OwnedTensor& x, const Visit& visit) {
  const PoolWindow& v = s.window;
  for (std::int64_t i = 0; i < s.n * s.c * s.out_h * s.out_w; ++i) {
    const std::int64_t w = i % s.out_w, h = i / s.out_w % s.out_h, c = i / s.out_w / s.out_h % s.c;
    const std::int64_t n = i / s.out_w / s.out_h / s.c;
    double best = -std::numeric_limits<double>::infinity();
    std::int64_t best_h = -1, best_w = -1;
    for (std::int64_t tap = 0; tap < v.kernel_h * v.kernel_w; ++tap) {
      const std::int64_t in_h = h * v.stride_h - v.top + tap / v.kernel_w * v.dilation_h;
      const std::int64_t in_w = w * v.stride_w - v.left + tap % v.kernel_w * v.dilation_w;
      if (in_h < 0 || in_h >= s.h || in_w < 0 || in_w >= s.w) {
        continue;
      }
      const double value = x.get(n, c, in_h, in_w);
      if (best_h < 0 || value > best || (std::isnan(value) && !std::isnan(best))) {
        best = value;
        best_h = in_h;
        best_w = in_w;
      }
    }
    visit(n, c, h, w, best, best_h, best_w);
  }
}

Halo any_halo(Random& random) {
  return {pick(random, 0, 2), pick(random, 0, 2), pick(random, 0, 2), pick(random, 0, 2)};
}

// A tensor in the native layout; what surrounds it is infinite, which no kernel may notice.
Activations surrounded(const OwnedTensor& tensor, Random& random, const Context& with) {
  const Tensor& t = tensor.view();
  Activations inside(t.dtype, false, blocks_of(t.n, t.dtype), t.c, t.h, t.w, any_halo(random));
  pack(t, inside.view, with);
  const Packed& p = inside.view;
  Cell outside;
  std::memset(outside.bytes, 0x7f, sizeof outside);
  for (std::int64_t i = 0; i < p.blocks * stored_rows(p) * p.channels * stored_columns(p); ++i) {
    const std::int64_t w = i % stored_columns(p) - p.halo.left, c = i / stored_columns(p) % p.channels;
    const std::int64_t h = i / p.row % stored_rows(p) - p.halo.top;
    if (h < 0 || h >= p.height || w < 0 || w >= p.width) {
      *cell_at(p, i / p.block, h, c, w) = outside;
    }
  }
  return inside;
}

// Memory for a result, full of what must be overwritten.
Activations soiled(const Setting& s, std::int64_t h, std::int64_t w, const Halo& halo) {
  Activations result(s.dtype, false, blocks_of(s.n, s.dtype), s.c, h, w, halo);
  std::memset(result.view.data, 0x41, static_cast<std::size_t>(cells_of(result.view)) * sizeof(Cell));
  return result;
}

bool same_bits(const Packed& a, const Packed& b) {
  return std::memcmp(a.data, b.data, static_cast<std::size_t>(cells_of(a)) * sizeof(Cell)) == 0;
}

// What compute(result, context) writes, the same on one thread and on three, with zeros around it.
OwnedTensor result_of(const Setting& s, std::int64_t h, std::int64_t w, Random& random, const Kernels& kernels,
                      const std::function<void(const Packed&, const Context&)>& compute) {
  const Halo halo = any_halo(random);
  const Activations one = soiled(s, h, w, halo), three = soiled(s, h, w, halo), again = soiled(s, h, w, halo);
  compute(one.view, {kernels, 1});
  compute(three.view, {kernels, 3});
  CHECK(same_bits(one.view, three.view), "pooling: the same on any number of threads");
  OwnedTensor result(s.dtype, s.n, s.c, h, w, Order::kNchw);
  unpack(one.view, result.view(), {kernels, 1});
  pack(result.view(), again.view, {kernels, 1});
  CHECK(same_bits(one.view, again.view), "pooling: zeros in the halo and behind the last image");
  return result;
}

void check_max_pool(const Setting& s, bool with_nan, Random& random, const Kernels& kernels) {
  const OwnedTensor x = s.input(), gy = s.output();
  fill_with_ties(x, random, with_nan);
  gy.fill(random);
  const Activations xs = surrounded(x, random, {kernels, 1}), gys = surrounded(gy, random, {kernels, 1});
  const OwnedTensor y = result_of(s, s.out_h, s.out_w, random, kernels, [&](const Packed& to, const Context& with) {
    max_pool_packed(xs.view, to, s.window, s.n, with);
  });
  const Activations ys = surrounded(y, random, {kernels, 1});
  const OwnedTensor gx = result_of(s, s.h, s.w, random, kernels, [&](const Packed& to, const Context& with) {
    max_pool_grad_packed(xs.view, ys.view, gys.view, to, s.window, with);
  });
  bool good = true;
  std::vector<Sum> sums(static_cast<std::size_t>(s.n * s.c * s.h * s.w));
  each_maximum(s, x, [&](auto n, auto c, auto h, auto w, double best, auto best_h, auto best_w) {
    const double result = y.get(n, c, h, w);
    good = good && (result == best || (std::isnan(result) && std::isnan(best)));
    if (best_h >= 0) {
      Sum& sum = sums[static_cast<std::size_t>(((n * s.c + c) * s.h + best_h) * s.w + best_w)];
      sum.value += gy.get(n, c, h, w);
      sum.magnitude += std::abs(gy.get(n, c, h, w));
      ++sum.terms;
    }
  });
  CHECK(good, "maximum");
  CHECK(near(gx, sums), "gradient of the maximum");
}

void check_average(const Setting& s, Random& random, const Kernels& kernels) {
  const OwnedTensor x = s.input(), gy(s.dtype, s.n, s.c, 1, 1, Order::kNchw);
  x.fill(random);
  gy.fill(random);
  const Activations xs = surrounded(x, random, {kernels, 1}), gys = surrounded(gy, random, {kernels, 1});
  const OwnedTensor y = result_of(s, 1, 1, random, kernels, [&](const Packed& to, const Context& with) {
    global_average_packed(xs.view, to, with);
  });
  const OwnedTensor gx = result_of(s, s.h, s.w, random, kernels, [&](const Packed& to, const Context& with) {
    global_average_grad_packed(gys.view, to, with);
  });
  std::vector<Sum> averages(static_cast<std::size_t>(s.n * s.c)), shares(averages.size() * s.h * s.w);
  const auto pixels = static_cast<double>(s.h * s.w);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t w = at % s.w, h = at / s.w % s.h, c = at / s.w / s.h % s.c, n = at / s.w / s.h / s.c;
    Sum& average = averages[static_cast<std::size_t>(n * s.c + c)];
    average.value += x.get(n, c, h, w) / pixels;
    average.magnitude += std::abs(x.get(n, c, h, w)) / pixels;
    ++average.terms;
    shares[i] = {gy.get(n, c, 0, 0) / pixels, std::abs(gy.get(n, c, 0, 0)) / pixels, 1};
  }
  CHECK(near(y, averages), "average");
  CHECK(near(gx, shares), "gradient of the average");
}

}  // namespace

void test_pool(const Kernels& kernels) {
  Random random(4);
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBFloat16, Dtype::kFloat16}) {
    for (int i = 0; i < 25; ++i) {
      const Setting s = any_setting(random, dtype);
      check_max_pool(s, i % 2 == 1, random, kernels);
      check_average(s, random, kernels);
    }
    // Large enough for several threads, and with overlapping windows everywhere.
    check_max_pool({dtype, 33, 12, 24, 26, 12, 13, {3, 3, 2, 2, 1, 1, 1, 1}}, true, random, kernels);
  }
}

}  // namespace mezzotint::tests
