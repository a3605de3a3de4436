// Are the steps of an inference program right: phases, convolutions with all that follows them, maxima, averages,
// flattening and products of rows, for any size, stride, padding, dilation, grouping, density and kernel choice, and
// the same bits for one thread and for several?
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/steps.hpp"
#include "tests/arena.hpp"
#include "tests/check.hpp"
#include "tests/compare.hpp"

namespace mezzotint::tests {
namespace {

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

struct Case {
  const Kernels& kernels;
  Problem problem;
  Dtype dtype;
  std::int64_t batch, height, width;
};

struct Window {
  std::vector<std::int64_t> offsets;
  ArenaPlanes x;
};

// The phases of an input for a window, in planes with room for its borders.
Window window(Arena& arena, const Case& c, std::int64_t out_h, std::int64_t out_w, std::int64_t pitch_of_y) {
  const Conv& conv = c.problem.conv;
  const std::int64_t height = up(c.height, conv.stride_h) / conv.stride_h,
                     width = up(c.width, conv.stride_w) / conv.stride_w;
  Window made;
  made.x = arena.planes(c.batch, conv.stride_h * conv.stride_w * conv.in(), height, width, pitch_of_y,
                        (out_h + 16) * pitch_of_y);
  for (std::int64_t i = 0; i < conv.taps(); ++i) {
    const std::int64_t row = i / conv.kernel_w * conv.dilation_h - conv.top;
    const std::int64_t column = i % conv.kernel_w * conv.dilation_w - conv.left;
    const std::int64_t h = floor_div(row, conv.stride_h), w = floor_div(column, conv.stride_w);
    const std::int64_t phase = (row - h * conv.stride_h) * conv.stride_w + column - w * conv.stride_w;
    made.offsets.push_back(phase * conv.in() * made.x.shape.stride + h * pitch_of_y + w);
  }
  (void)out_w;
  return made;
}

// Rows far enough apart for every border.
std::int64_t pitch_of(const Case& c, std::int64_t out_w) {
  const Conv& conv = c.problem.conv;
  return std::max(out_w, c.width) + conv.left + conv.right + conv.kernel_w * conv.dilation_w;
}

void check_conv(const Case& c, Random& random) {
  const Conv& conv = c.problem.conv;
  const std::int64_t out_h = c.problem.output_height(c.height), out_w = c.problem.output_width(c.width);
  OwnedTensor x(c.dtype, c.batch, conv.in(), c.height, c.width, OwnedTensor::Order::kNchw);
  OwnedTensor residual(c.dtype, c.batch, conv.out, out_h, out_w, OwnedTensor::Order::kNchw);
  x.fill(random);
  residual.fill(random);
  const bool adds = pick(random, 0, 1), clamps = pick(random, 0, 1);
  const Activation clamp{Curve::kNone, 0.0f, clamps ? 0.0f : -kInfinity, clamps ? 1.0f : kInfinity};
  const std::vector<float> bias(static_cast<std::size_t>(conv.out), 0.75f);
  std::vector<Sum> sums = reference_output(x, c.problem, c.dtype, bias, out_h, out_w);

  Arena arena(c.dtype);
  const std::int64_t pitch = pitch_of(c, out_w);
  const Window in = window(arena, c, out_h, out_w, pitch);
  const ArenaPlanes beside = arena.planes(c.batch, conv.out, out_h, out_w, pitch, 0);
  const ArenaPlanes y = arena.planes(c.batch, conv.out, out_h, out_w, pitch, pitch);
  const std::vector<float> from = numbers(x), added = numbers(residual);
  std::vector<float> result(sums.size(), std::numeric_limits<float>::quiet_NaN());
  const std::vector<const float*> inputs{from.data(), added.data()};
  std::vector<float*> outputs{result.data()};
  RunPlace place{&c.kernels, arena.get(), &inputs, &outputs, c.batch, 1};
  run(*make_split({0, {}, conv.in(), c.height, c.width}, conv.stride_h, conv.stride_w, in.x, 0.0f), place);
  run(*make_split({1, {}, conv.out, out_h, out_w}, 1, 1, beside, 0.0f), place);
  const auto step = make_conv({in.x,
                               y,
                               true,
                               nullptr,
                               adds ? &beside : nullptr,
                               c.problem.weight(Dtype::kFloat32),
                               conv,
                               in.offsets,
                               {},
                               bias,
                               clamp,
                               c.kernels.matrices != nullptr});
  const auto flatten = make_flatten(y, {{}, 0, conv.out * out_h * out_w});
  for (std::size_t i = 0; i < sums.size() && adds; ++i) {
    sums[i].value += added[i];
    sums[i].magnitude += std::abs(added[i]);
    sums[i].terms += 1;
  }
  for (Sum& sum : sums) {
    sum.value = std::clamp(sum.value, static_cast<double>(clamp.low), static_cast<double>(clamp.high));
  }
  const char* const names[] = {"pairs", "groups", "lanes", "windows", "matrices"};
  for (const Choice choice : step->choices(c.kernels)) {
    const std::string what = std::string(names[static_cast<std::size_t>(choice.summing)]) + ", tile " +
                             std::to_string(choice.tile) + ", parts " + std::to_string(choice.parts) + ": " +
                             describe(conv, x.view(), c.dtype);
    step->choose(choice);
    place.threads = 1;
    run(*step, place);
    run(*flatten, place);
    const std::vector<float> alone = result;
    place.threads = 3;
    run(*step, place);
    run(*flatten, place);
    bool good = true;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      good = good && near(alone[i], sums[i], c.dtype);
    }
    CHECK(good, "planes, " + what);
    CHECK(result == alone, "planes do not depend on threads, " + what);
  }
}

void check_max_and_average(const Case& c, Random& random) {
  const Conv& conv = c.problem.conv;
  const std::int64_t channels = conv.in();
  const std::int64_t out_h = c.problem.output_height(c.height), out_w = c.problem.output_width(c.width);
  OwnedTensor x(c.dtype, c.batch, channels, c.height, c.width, OwnedTensor::Order::kNchw);
  x.fill(random);
  Arena arena(c.dtype);
  const std::int64_t pitch = pitch_of(c, out_w);
  const Window in = window(arena, c, out_h, out_w, pitch);
  const ArenaPlanes y = arena.planes(c.batch, channels, out_h, out_w, pitch, 0);
  const ArenaPlanes pixel = arena.planes(c.batch, channels, 1, 1, 1, 0);
  std::vector<float> maxima(static_cast<std::size_t>(c.batch * channels * out_h * out_w)),
      averages(static_cast<std::size_t>(c.batch * channels));
  const std::vector<float> from = numbers(x);
  const std::vector<const float*> inputs{from.data()};
  const std::vector<float*> outputs{maxima.data(), averages.data()};
  const RunPlace place{&c.kernels, arena.get(), &inputs, &outputs, c.batch, 2};
  run(*make_split({0, {}, channels, c.height, c.width}, conv.stride_h, conv.stride_w, in.x, -kInfinity), place);
  run(*make_max(in.x, y, false, in.offsets), place);
  run(*make_flatten(y, {{}, 0, channels * out_h * out_w}), place);
  run(*make_average(y, pixel), place);
  run(*make_flatten(pixel, {{}, 1, channels}), place);
  const std::string what = describe(conv, x.view(), c.dtype);
  bool good = true;
  for (std::int64_t nc = 0; nc < c.batch * channels; ++nc) {
    Sum sum{};
    for (std::int64_t p = 0; p < out_h * out_w; ++p) {
      double best = -kInfinity;
      for (std::int64_t tap = 0; tap < conv.taps(); ++tap) {
        const std::int64_t h = p / out_w * conv.stride_h + tap / conv.kernel_w * conv.dilation_h - conv.top;
        const std::int64_t w = p % out_w * conv.stride_w + tap % conv.kernel_w * conv.dilation_w - conv.left;
        if (h >= 0 && h < c.height && w >= 0 && w < c.width) {
          best = std::max(best, x.get(nc / channels, nc % channels, h, w));
        }
      }
      good = good && maxima[static_cast<std::size_t>(nc * out_h * out_w + p)] == best;
      sum.value += best / static_cast<double>(out_h * out_w);
      sum.magnitude += std::abs(best) / static_cast<double>(out_h * out_w);
      sum.terms += 1;
    }
    if (std::isfinite(sum.value)) {  // a window may hold no pixel at all
      CHECK(near(averages[static_cast<std::size_t>(nc)], sum, c.dtype), "average of " + what);
    }
  }
  CHECK(good, "maxima of " + what);
}

// An input of rows, two products after each other: the first one's rows are the second one's input.
void check_products(const Kernels& kernels, Dtype dtype, Random& random) {
  const std::int64_t batch = pick(random, 0, 9), in = pick(random, 1, 70), middle = pick(random, 1, 60),
                     out = pick(random, 1, 30);
  OwnedTensor x(dtype, batch, in, 1, 1, OwnedTensor::Order::kNchw),
      one(dtype, middle, in, 1, 1, OwnedTensor::Order::kNchw), two(dtype, out, middle, 1, 1, OwnedTensor::Order::kNchw);
  for (const OwnedTensor* tensor : {&x, &one, &two}) {
    tensor->fill(random);
  }
  const std::int64_t zeros_of_ten = pick(random, 0, 10);
  for (std::int64_t at = 0; at < middle * in; ++at) {
    if (pick(random, 0, 9) < zeros_of_ten) {
      one.set(at / in, at % in, 0, 0, 0.0f);
    }
  }
  const std::vector<float> from = numbers(x), first = numbers(one), second = numbers(two);
  std::vector<float> result(static_cast<std::size_t>(batch * out));
  const std::vector<const float*> inputs{from.data()};
  const std::vector<float*> outputs{result.data()};
  Arena arena(dtype);
  const ArenaRows rows = arena.rows(batch, in), hidden = arena.rows(batch, middle);
  const RunPlace place{&kernels, arena.get(), &inputs, &outputs, batch, 2};
  const Activation relu{Curve::kNone, 0.0f, 0.0f, kInfinity}, none{};
  run(*make_rows(dtype, 0, in, rows), place);
  const auto sparse =
      make_product(dtype, rows, first.data(), in, std::vector<float>(static_cast<std::size_t>(middle), 0.5f), relu,
                   {hidden, -1, middle});
  if (const auto choices = sparse->choices(kernels); !choices.empty()) {
    sparse->choose(choices[static_cast<std::size_t>(pick(random, 0, 1))]);
  }
  run(*sparse, place);
  run(*make_product(dtype, hidden, second.data(), middle, std::vector<float>(static_cast<std::size_t>(out), 0.0f), none,
                    {{}, 0, out}),
      place);
  for (std::int64_t n = 0; n < batch; ++n) {
    std::vector<Sum> inner;
    for (std::int64_t m = 0; m < middle; ++m) {
      Sum sum{0.5, 0.5, in + 1};
      for (std::int64_t i = 0; i < in; ++i) {
        const double product = x.get(n, i, 0, 0) * one.get(m, i, 0, 0);
        sum.value += product;
        sum.magnitude += std::abs(product);
      }
      sum.value = std::max(sum.value, 0.0);
      inner.push_back(sum);
    }
    for (std::int64_t o = 0; o < out; ++o) {
      double value = 0.0, bound = 0.0;
      for (std::int64_t m = 0; m < middle; ++m) {
        const Sum& sum = inner[static_cast<std::size_t>(m)];
        const double weight = two.get(o, m, 0, 0);
        const double off = static_cast<double>(sum.terms + 1) * 0x1p-23 * sum.magnitude +
                           storage_error(dtype) * (std::abs(sum.value) + 1e-3);
        value += weight * sum.value;
        bound += std::abs(weight) * (off * 1.01 + static_cast<double>(middle + 2) * 0x1p-23 * std::abs(sum.value));
      }
      CHECK(std::abs(result[static_cast<std::size_t>(n * out + o)] - value) <= bound + 1e-6, "product of rows");
    }
  }
}

double curved(Curve curve, double slope, double x) {
  const double hard = std::clamp(x + 3, 0.0, 6.0) / 6, soft = 1 / (1 + std::exp(-x));
  switch (curve) {
    case Curve::kNone:
      break;
    case Curve::kLeakyRelu:
      return x < 0 ? slope * x : x;
    case Curve::kSigmoid:
      return soft;
    case Curve::kSilu:
      return x * soft;
    case Curve::kHardSigmoid:
      return hard;
    case Curve::kHardSwish:
      return x * hard;
    case Curve::kMish:
      return x * std::tanh(std::log1p(std::exp(x)));
  }
  return x;
}

// A multiple of `step` next to the number wanted, within -5 and 12, give or take an error of `bound`.
bool is_multiple(double found, double step, double wanted, double bound) {
  const double inside = std::clamp(wanted, -5.0, 12.0);
  return found == std::nearbyint(found / step) * step && std::abs(found - inside) <= step / 2 + bound;
}

// Each pixel several times.
void check_spread(Arena& arena, const ArenaPlanes& x, const std::vector<float>& from, RunPlace place, Random& random) {
  const Planes& shape = x.shape;
  const std::int64_t factor_h = pick(random, 1, 3), factor_w = pick(random, 1, 3);
  const std::int64_t height = shape.height * factor_h, width = shape.width * factor_w;
  const ArenaPlanes y = arena.planes(place.images, shape.channels, height, width, width + pick(random, 0, 2), 0);
  const std::int64_t size = shape.channels * height * width;
  std::vector<float> result(static_cast<std::size_t>(place.images * size));
  const std::vector<float*> outputs{result.data()};
  place.outputs = &outputs;
  run(*make_spread(x, y, factor_h, factor_w), place);
  run(*make_flatten(y, {{}, 0, size}), place);
  bool good = true;
  for (std::size_t i = 0; i < result.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t plane = at / (height * width), h = at / width % height / factor_h, w = at % width / factor_w;
    const float wanted = from[static_cast<std::size_t>((plane * shape.height + h) * shape.width + w)];
    good = good && (result[i] == wanted || (std::isnan(result[i]) && std::isnan(wanted)));
  }
  CHECK(good, "pixels several times");
}

// Planes times others or times one number a channel, through every curve, on numbers from tiny to huge.
void check_multiply(const Kernels& kernels, Dtype dtype, Random& random) {
  const std::int64_t batch = pick(random, 1, 3), channels = pick(random, 1, 5), height = pick(random, 1, 6),
                     width = pick(random, 1, 40);
  const bool one_factor = pick(random, 0, 1);
  const std::int64_t pixels = height * width, factors = one_factor ? 1 : pixels;
  OwnedTensor x(dtype, batch, channels, height, width, OwnedTensor::Order::kNchw),
      f(dtype, batch, channels, one_factor ? 1 : height, one_factor ? 1 : width, OwnedTensor::Order::kNchw);
  x.fill(random);
  f.fill(random);
  std::vector<float> from = numbers(x), by = numbers(f);
  for (float& factor : by) {  // powers of two, so that products are exact
    factor = std::ldexp(1.0f, static_cast<int>(pick(random, 0, 9)) - 4);
  }
  from[0] = std::numeric_limits<float>::quiet_NaN();
  from.back() = pick(random, 0, 1) ? kInfinity : -kInfinity;
  Arena arena(dtype);
  const std::int64_t pitch = width + pick(random, 0, 3);
  const ArenaPlanes px = arena.planes(batch, channels, height, width, pitch, 0),
                    pf = arena.planes(batch, channels, f.view().h, f.view().w, one_factor ? 1 : pitch, 0),
                    y = arena.planes(batch, channels, height, width, pitch, pitch + 1);
  std::vector<float> result(from.size());
  const std::vector<const float*> inputs{from.data(), by.data()};
  const std::vector<float*> outputs{result.data()};
  const RunPlace place{&kernels, arena.get(), &inputs, &outputs, batch, 2};
  run(*make_split({0, {}, channels, height, width}, 1, 1, px, 0.0f), place);
  check_spread(arena, px, from, place, random);
  run(*make_split({1, {}, channels, f.view().h, f.view().w}, 1, 1, pf, 0.0f), place);
  for (std::int32_t code = 0; code < 2 * kCurves; ++code) {
    const float step = code < kCurves ? 0.0f : 0.25f;  // multiples of it are exact in both types
    const Activation after{static_cast<Curve>(code % kCurves), 0.125f, -5.0f, step > 0.0f ? 12.0f : kInfinity, step};
    run(*make_product_of_planes(px, pf, y, after), place);
    run(*make_flatten(y, {{}, 0, channels * pixels}), place);
    bool good = true;
    for (std::size_t i = 0; i < from.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const double product =
          static_cast<double>(from[i]) * by[static_cast<std::size_t>(at / pixels * factors + at % factors)];
      const double wanted = curved(after.curve, 0.125, product);
      const double bound = (4 * 0x1p-23 + storage_error(dtype)) * std::max(std::abs(wanted), 1.0) * 1.01;
      good = good && (std::isnan(product)   ? std::isnan(result[i])
                      : std::isinf(product) ? !(result[i] < -5.0f)
                      : step > 0.0f         ? is_multiple(result[i], step, wanted, bound)
                                            : std::abs(std::max(wanted, -5.0) - result[i]) <= bound);
    }
    CHECK(good, "product of planes, curve " + std::to_string(code));
  }
}

Case any_case(const Kernels& kernels, Random& random) {
  Conv conv;
  conv.groups = pick(random, 0, 2) ? 1 : pick(random, 1, 4);
  conv.in_per_group = pick(random, 1, 6);
  conv.out = conv.groups * pick(random, 1, 6);
  conv.kernel_h = pick(random, 1, 4);
  conv.kernel_w = pick(random, 1, 4);
  conv.stride_h = pick(random, 1, 3);
  conv.stride_w = pick(random, 1, 3);
  conv.dilation_h = pick(random, 1, 2);
  conv.dilation_w = pick(random, 1, 2);
  conv.top = pick(random, 0, 3);
  conv.bottom = pick(random, 0, 3);
  conv.left = pick(random, 0, 3);
  conv.right = pick(random, 0, 3);
  const double densities[] = {0.0, 0.05, 0.3, 1.0};
  Case c{kernels, with_nonzeros(conv, densities[pick(random, 0, 3)], random), Dtype::kFloat32, 0, 0, 0};
  c.dtype = static_cast<Dtype>(pick(random, 0, 1));
  c.batch = pick(random, 1, 3);
  c.height = pick(random, 1, 9) + (conv.kernel_h - 1) * conv.dilation_h;
  c.width = pick(random, 1, 18) + (conv.kernel_w - 1) * conv.dilation_w;
  return c;
}

Conv three_by_three(std::int64_t in, std::int64_t out) {
  Conv conv;
  conv.in_per_group = in;
  conv.out = out;
  conv.kernel_h = conv.kernel_w = 3;
  conv.top = conv.bottom = conv.left = conv.right = 1;
  return conv;
}

// Enough input channels for parts.
Case many_channels(const Kernels& kernels, Random& random) {
  return {kernels, with_nonzeros(three_by_three(130, 7), 0.1, random), Dtype::kBFloat16, 2, 6, 7};
}

// Output channels for several blocks of lanes and a rest, inputs for several turns.
Case many_outputs(const Kernels& kernels, Random& random) {
  return {kernels, with_nonzeros(three_by_three(23, 121), 0.9, random), Dtype::kFloat32, 2, 11, 13};
}

// Depthwise windows of three columns that lie side by side; planes from a single pixel to several tiles.
Case depthwise(const Kernels& kernels, Random& random) {
  Conv conv = three_by_three(1, 1);
  conv.groups = pick(random, 1, 5);
  conv.out = conv.groups * pick(random, 1, 2);
  conv.dilation_h = pick(random, 1, 2);
  conv.top = conv.bottom = pick(random, 0, 2);
  const double density = pick(random, 0, 1) ? 1.0 : 0.5;
  const std::int64_t height = pick(random, 1, 30) + 4, width = pick(random, 1, 30) + 2;
  return {
      kernels, with_nonzeros(conv, density, random), static_cast<Dtype>(pick(random, 0, 1)), pick(random, 1, 3), height,
      width};
}

}  // namespace

void test_planes(const Kernels& kernels) {
  Random random(7);
  check_conv(many_channels(kernels, random), random);
  check_conv(many_outputs(kernels, random), random);
  for (int i = 0; i < 60; ++i) {
    check_conv(any_case(kernels, random), random);
    check_conv(depthwise(kernels, random), random);
    check_max_and_average(any_case(kernels, random), random);
    check_products(kernels, static_cast<Dtype>(i % 2), random);
    check_multiply(kernels, static_cast<Dtype>(i % 2), random);
  }
}

}  // namespace mezzotint::tests
