// Do images that lie abreast give what they give alone? From phases that a convolution writes for several images in
// turn, through windows that read shifted copies, to averages, factors and flattened outputs.
#include <algorithm>
#include <cmath>

#include "engine/steps.hpp"
#include "tests/arena.hpp"
#include "tests/check.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {
namespace {

constexpr std::int64_t kImages = 5;  // the last group is not full

Conv window(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  Conv conv;
  conv.in_per_group = in;
  conv.out = out;
  conv.kernel_h = conv.kernel_w = kernel;
  conv.stride_h = conv.stride_w = stride;
  conv.top = conv.bottom = conv.left = conv.right = kernel / 2;
  return conv;
}

// A network of three convolutions, with the sizes of its images.
struct Network {
  Dtype dtype;
  std::int64_t height, width, small_h, small_w;
  Problem first, half, last;
  std::vector<float> x;
};

Network any_network(Dtype dtype, std::int64_t abreast, Random& random) {
  Network net{dtype, pick(random, 1, 9), 0, 0, 0, {}, {}, {}, {}};
  net.width = pick(random, 1, 2 * (lanes_of(dtype) / abreast - 1));  // a column between the halves of two images
  net.small_h = up(net.height, 2) / 2;
  net.small_w = up(net.width, 2) / 2;
  const std::int64_t channels[] = {pick(random, 1, 4), pick(random, 1, 9), pick(random, 1, 40), pick(random, 1, 9)};
  const double density = pick(random, 0, 1) ? 0.3 : 1.0;
  net.first = with_nonzeros(window(channels[0], channels[1], 1, 1), density, random);
  net.half = with_nonzeros(window(channels[1], channels[2], 3, 2), density, random);
  net.last = with_nonzeros(window(channels[2], channels[3], 3, 1), density, random);
  for (std::int64_t i = 0; i < kImages * channels[0] * net.height * net.width; ++i) {
    net.x.push_back(static_cast<float>(pick(random, -8, 8)) / 8.0f);
  }
  return net;
}

// Planes of small images, with room for so many copies of each channel.
ArenaPlanes small_planes(Arena& arena, const Network& net, std::int64_t channels, std::int64_t copies,
                         std::int64_t abreast) {
  const std::int64_t pitch = abreast > 1 ? lanes_of(net.dtype) : net.small_w + 1;
  const std::int64_t width = (abreast - 1) * (pitch / abreast) + net.small_w;
  ArenaPlanes made =
      arena.planes(up(kImages, abreast) / abreast, channels * copies, net.small_h, width, pitch, pitch + 1);
  made.shape.channels = channels;
  made.shape.abreast = abreast;
  made.room = up(kImages, abreast);
  return made;
}

std::unique_ptr<Step> conv_of(const Problem& problem, const ArenaPlanes& x, const ArenaPlanes& y,
                              const ArenaPlanes* phases, const std::vector<std::int64_t>& offsets, bool matrices) {
  const bool keeps = phases == nullptr;
  return make_conv({x,
                    y,
                    keeps,
                    phases,
                    nullptr,
                    problem.weight(Dtype::kFloat32),
                    problem.conv,
                    offsets,
                    {},
                    std::vector<float>(static_cast<std::size_t>(problem.conv.out), 0.25f),
                    Activation{},
                    matrices});
}

void choose_any(Step& step, const Kernels& kernels, Random& random) {
  const std::vector<Choice> choices = step.choices(kernels);
  step.choose(choices[static_cast<std::size_t>(pick(random, 0, static_cast<std::int64_t>(choices.size()) - 1))]);
}

// The flattened result, then the averages.
std::vector<float> results(const Network& net, const Kernels& kernels, std::int64_t abreast, int threads,
                           Random& random) {
  Arena arena(net.dtype);
  const Conv &first = net.first.conv, &half = net.half.conv, &last = net.last.conv;
  const ArenaPlanes x = arena.planes(kImages, first.in(), net.height, net.width, net.width + 1, 0);
  const ArenaPlanes y = arena.planes(kImages, first.out, net.height, net.width, net.width + 1, 0);
  const ArenaPlanes phases = small_planes(arena, net, 4 * first.out, 1, abreast);
  ArenaPlanes middle = small_planes(arena, net, half.out, 3, abreast);
  const ArenaPlanes end = small_planes(arena, net, last.out, 1, abreast),
                    product = small_planes(arena, net, last.out, 1, abreast);
  const ArenaPlanes pixel = arena.planes(kImages, last.out, 1, 1, 1, 0);
  const std::int64_t pixels = last.out * net.small_h * net.small_w;
  std::vector<float> found(static_cast<std::size_t>(kImages * (pixels + last.out)));
  const std::vector<const float*> inputs{net.x.data()};
  const std::vector<float*> outputs{found.data(), found.data() + kImages * pixels};

  std::vector<std::int64_t> in_phases, in_copies;
  for (std::int64_t row = -1; row <= 1; ++row) {
    for (std::int64_t column = -1; column <= 1; ++column) {
      const std::int64_t phase = (row != 0 ? 2 : 0) + (column != 0 ? 1 : 0);
      const std::int64_t h = row < 0 ? -1 : 0, w = column < 0 ? -1 : 0;
      in_phases.push_back(phase * first.out * phases.shape.stride + h * phases.shape.pitch + w);
      const std::int64_t copy = column == 0 ? 0 : column < 0 ? 1 : 2;
      in_copies.push_back(copy * half.out * middle.shape.stride + row * middle.shape.pitch);
    }
  }
  // Image by image up to the phases, then all of them.
  const auto split = make_split({0, {}, first.in(), net.height, net.width}, 1, 1, x, 0.0f);
  const bool matrices = kernels.matrices != nullptr;
  const auto one = conv_of(net.first, x, y, &phases, {0}, matrices);
  choose_any(*one, kernels, random);
  for (std::int64_t image = 0; image < kImages; ++image) {
    const RunPlace place{&kernels, arena.get(), &inputs, &outputs, 1, threads, image};
    run(*split, place);
    run(*one, place);
  }
  const RunPlace place{&kernels, arena.get(), &inputs, &outputs, kImages, threads};
  const auto two = conv_of(net.half, phases, middle, nullptr, in_phases, matrices);
  choose_any(*two, kernels, random);
  run(*two, place);
  run(*make_shift(middle, half.out, {{0, half.out, -1}, {0, 2 * half.out, 1}}), place);
  const auto three = conv_of(net.last, middle, end, nullptr, in_copies, matrices);
  choose_any(*three, kernels, random);
  run(*three, place);
  run(*make_average(end, pixel), place);
  run(*make_product_of_planes(end, pixel, product, Activation{}), place);
  run(*make_flatten(product, {{}, 0, pixels}), place);
  run(*make_flatten(pixel, {{}, 1, last.out}), place);
  return found;
}

}  // namespace

void test_abreast(const Kernels& kernels) {
  Random random(11);
  for (int i = 0; i < 40; ++i) {
    const auto dtype = static_cast<Dtype>(i % 2);
    const std::int64_t abreast = pick(random, 0, 1) ? 4 : 2;
    const Network net = any_network(dtype, abreast, random);
    const std::vector<float> wanted = results(net, kernels, 1, 1, random);
    const std::vector<float> found = results(net, kernels, abreast, 3, random);
    float most = 1.0f, error = 0.0f;
    bool finite = true;
    for (std::size_t at = 0; at < wanted.size(); ++at) {
      finite = finite && std::isfinite(found[at]) && std::isfinite(wanted[at]);
      most = std::max(most, std::abs(wanted[at]));
      error = std::max(error, std::abs(wanted[at] - found[at]));
    }
    const float bound = dtype == Dtype::kBFloat16 ? 0.03f : 1e-5f;
    CHECK(finite && error <= bound * most, "images abreast");
  }
}

}  // namespace mezzotint::tests
