#include "tests/reference.hpp"

#include <cmath>

namespace mezzotint::tests {
namespace {

void add(Sum& sum, double term) {
  sum.value += term;
  sum.magnitude += std::abs(term);
  ++sum.terms;
}

std::size_t flat(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, std::int64_t channels,
                 std::int64_t height, std::int64_t width) {
  return static_cast<std::size_t>(((n * channels + c) * height + h) * width + w);
}

// Calls visit(n, o, oh, ow, c, h, w, weight index) for every product of the convolution that is not with padding.
template <class Visit>
void products(const Conv& conv, std::int64_t batch, std::int64_t height, std::int64_t width, std::int64_t out_height,
              std::int64_t out_width, std::int64_t o, std::int64_t i, std::int64_t ky, std::int64_t kx,
              const Visit& visit) {
  const std::int64_t channel = o / conv.out_per_group() * conv.in_per_group + i;
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t oh = 0; oh < out_height; ++oh) {
      const std::int64_t h = oh * conv.stride_h + ky * conv.dilation_h - conv.top;
      for (std::int64_t ow = 0; ow < out_width && h >= 0 && h < height; ++ow) {
        const std::int64_t w = ow * conv.stride_w + kx * conv.dilation_w - conv.left;
        if (w >= 0 && w < width) {
          visit(n, oh, ow, channel, h, w);
        }
      }
    }
  }
}

struct Place {
  std::int64_t o, i, ky, kx;
};

Place place_of(const Conv& conv, std::int64_t index) {
  const std::int64_t tap = index % conv.taps();
  return {index / conv.row(), index % conv.row() / conv.taps(), tap / conv.kernel_w, tap % conv.kernel_w};
}

}  // namespace

std::vector<Sum> reference_output(const OwnedTensor& x, const Problem& problem, Dtype working,
                                  const std::vector<float>& bias, std::int64_t height, std::int64_t width) {
  const Conv& conv = problem.conv;
  const Tensor& t = x.view();
  std::vector<Sum> y(static_cast<std::size_t>(t.n * conv.out * height * width));
  for (std::size_t k = 0; k < y.size(); ++k) {
    const std::size_t o = k / static_cast<std::size_t>(height * width) % static_cast<std::size_t>(conv.out);
    add(y[k], bias.empty() ? 0.0 : bias[o]);
  }
  const std::vector<double> dense = problem.dense(working);
  for (const std::int32_t index : problem.indices) {
    const Place p = place_of(conv, index);
    const double weight = dense[static_cast<std::size_t>(index)];
    products(conv, t.n, t.h, t.w, height, width, p.o, p.i, p.ky, p.kx,
             [&](auto n, auto oh, auto ow, auto c, auto h, auto w) {
               add(y[flat(n, p.o, oh, ow, conv.out, height, width)], weight * x.get(n, c, h, w));
             });
  }
  return y;
}

std::vector<Sum> reference_input_grad(const OwnedTensor& gy, const Problem& problem, Dtype working, std::int64_t height,
                                      std::int64_t width) {
  const Conv& conv = problem.conv;
  const Tensor& t = gy.view();
  std::vector<Sum> gx(static_cast<std::size_t>(t.n * conv.in() * height * width));
  const std::vector<double> dense = problem.dense(working);
  for (const std::int32_t index : problem.indices) {
    const Place p = place_of(conv, index);
    const double weight = dense[static_cast<std::size_t>(index)];
    products(conv, t.n, height, width, t.h, t.w, p.o, p.i, p.ky, p.kx,
             [&](auto n, auto oh, auto ow, auto c, auto h, auto w) {
               add(gx[flat(n, c, h, w, conv.in(), height, width)], weight * gy.get(n, p.o, oh, ow));
             });
  }
  return gx;
}

std::vector<Sum> reference_weight_grad(const OwnedTensor& x, const OwnedTensor& gy, const Problem& problem) {
  const Tensor& t = x.view();
  std::vector<Sum> gvalues(problem.indices.size());
  for (std::size_t k = 0; k < gvalues.size(); ++k) {
    const Place p = place_of(problem.conv, problem.indices[k]);
    products(problem.conv, t.n, t.h, t.w, gy.view().h, gy.view().w, p.o, p.i, p.ky, p.kx,
             [&](auto n, auto oh, auto ow, auto c, auto h, auto w) {
               add(gvalues[k], x.get(n, c, h, w) * gy.get(n, p.o, oh, ow));
             });
  }
  return gvalues;
}

}  // namespace mezzotint::tests
