// Do windows of stride 2 find what they read? Phases that a convolution writes beside its result or in its place, for
// any size and geometry, and maxima that are taken where their input lies; and does nothing of what was there stay?
#include <algorithm>
#include <cmath>

#include "engine/steps.hpp"
#include "tests/arena.hpp"
#include "tests/check.hpp"

namespace mezzotint::tests {
namespace {

// One weight of 1 a channel: the result is the input.
Problem identity(std::int64_t channels) {
  Problem problem;
  problem.conv.groups = problem.conv.out = channels;
  problem.conv.in_per_group = 1;
  for (std::int64_t c = 0; c < channels; ++c) {
    problem.values.push_back(1.0f);
    problem.indices.push_back(static_cast<std::int32_t>(c));
  }
  return problem;
}

struct Image {
  Dtype dtype;
  std::int64_t batch, channels, height, width;
  OwnedTensor x;
};

Image any_image(Dtype dtype, Random& random) {
  const std::int64_t batch = pick(random, 1, 3), channels = pick(random, 1, 5), height = pick(random, 1, 12),
                     width = pick(random, 1, 70);
  Image image{dtype,  batch, channels,
              height, width, OwnedTensor(dtype, batch, channels, height, width, OwnedTensor::Order::kNchw)};
  image.x.fill(random);
  return image;
}

// Whether all numbers of planes were written since the arena was full of NaN, what is no pixel included.
bool are_written(const Arena& arena, const ArenaPlanes& planes, std::int64_t images) {
  const std::uint8_t* const bytes = arena.get() + planes.offset;
  const std::int64_t size = size_of(planes.shape.dtype);
  for (std::int64_t at = 0; at < images * planes.shape.image; at += size) {
    if (std::all_of(bytes + at, bytes + at + size, [](std::uint8_t byte) { return byte == 0xff; })) {
      return false;
    }
  }
  return true;
}

void check_phases(const Kernels& kernels, const Image& image, Random& random) {
  const Problem problem = identity(image.channels);
  const std::int64_t stored = pick(random, 1, 4), half_h = (image.height + 1) / 2, half_w = (image.width + 1) / 2;
  const bool keeps = pick(random, 0, 1);
  const std::int64_t pitch = image.width + pick(random, 0, 3);
  Arena arena(image.dtype);
  const ArenaPlanes x = arena.planes(image.batch, image.channels, image.height, image.width, pitch, 0);
  const ArenaPlanes y = arena.planes(image.batch, image.channels, image.height, image.width, pitch, pitch);
  const ArenaPlanes phases = arena.planes(image.batch, stored * image.channels, half_h, half_w,
                                          half_w + pick(random, 0, 4), pick(random, 0, 40));
  const std::vector<float> from = numbers(image.x);
  std::vector<float> found(static_cast<std::size_t>(image.batch * stored * image.channels * half_h * half_w)),
      whole(from.size());
  const std::vector<const float*> inputs{from.data()};
  const std::vector<float*> outputs{found.data(), whole.data()};
  const RunPlace place{&kernels, arena.get(), &inputs, &outputs, image.batch, static_cast<int>(pick(random, 1, 3))};
  run(*make_split({0, {}, image.channels, image.height, image.width}, 1, 1, x, 0.0f), place);
  const auto conv = make_conv({x,
                               y,
                               keeps,
                               &phases,
                               nullptr,
                               problem.weight(Dtype::kFloat32),
                               problem.conv,
                               {0},
                               {},
                               std::vector<float>(static_cast<std::size_t>(image.channels)),
                               Activation{},
                               kernels.matrices != nullptr});
  const std::vector<Choice> choices = conv->choices(kernels);
  conv->choose(choices[static_cast<std::size_t>(pick(random, 0, static_cast<std::int64_t>(choices.size()) - 1))]);
  run(*conv, place);
  run(*make_flatten(phases, {{}, 0, stored * image.channels * half_h * half_w}), place);
  bool good = true;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t plane = at / half_w / half_h, n = plane / image.channels / stored;
    const std::int64_t phase = plane / image.channels % stored, c = plane % image.channels;
    const std::int64_t h = at / half_w % half_h * 2 + phase / 2, w = at % half_w * 2 + phase % 2;
    const bool inside = h < image.height && w < image.width;
    good = good && found[i] == (inside ? static_cast<float>(image.x.get(n, c, h, w)) : 0.0f);
  }
  CHECK(good, "phases that a convolution writes");
  CHECK(are_written(arena, phases, image.batch), "what is no pixel of the phases is zero");
  if (keeps) {
    run(*make_flatten(y, {{}, 1, image.channels * image.height * image.width}), place);
    CHECK(whole == from, "a result beside its phases");
  } else {
    CHECK(!are_written(arena, y, image.batch), "a result that nobody reads is not written");
  }
}

void check_maximum(const Kernels& kernels, const Image& image, Random& random) {
  const std::int64_t kernel_h = pick(random, 1, 3), kernel_w = pick(random, 1, 3);
  const std::int64_t top = pick(random, 0, kernel_h - 1), left = pick(random, 0, kernel_w - 1);
  const std::int64_t out_h = (image.height + top - 1) / 2 + 1, out_w = (image.width + left - 1) / 2 + 1;
  const std::int64_t pitch = image.width + 4;
  Arena arena(image.dtype);
  const ArenaPlanes x = arena.planes(image.batch, image.channels, image.height, image.width, pitch, 4 * pitch);
  const ArenaPlanes y =
      arena.planes(image.batch, image.channels, out_h, out_w, out_w + pick(random, 0, 3), pick(random, 0, 40));
  std::vector<float> from = numbers(image.x);
  for (float& number : from) {
    number = std::abs(number);  // the zeros at the border are never above it
  }
  std::vector<float> found(static_cast<std::size_t>(image.batch * image.channels * out_h * out_w));
  const std::vector<const float*> inputs{from.data()};
  const std::vector<float*> outputs{found.data()};
  const RunPlace place{&kernels, arena.get(), &inputs, &outputs, image.batch, static_cast<int>(pick(random, 1, 3))};
  std::vector<std::int64_t> offsets;
  for (std::int64_t tap = 0; tap < kernel_h * kernel_w; ++tap) {
    offsets.push_back((tap / kernel_w - top) * pitch + tap % kernel_w - left);
  }
  run(*make_split({0, {}, image.channels, image.height, image.width}, 1, 1, x, 0.0f), place);
  run(*make_max(x, y, true, offsets), place);
  run(*make_flatten(y, {{}, 0, image.channels * out_h * out_w}), place);
  bool good = true;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t plane = at / out_w / out_h;
    float best = 0.0f;
    for (std::int64_t tap = 0; tap < kernel_h * kernel_w; ++tap) {
      const std::int64_t h = at / out_w % out_h * 2 + tap / kernel_w - top, w = at % out_w * 2 + tap % kernel_w - left;
      if (h >= 0 && h < image.height && w >= 0 && w < image.width) {
        best = std::max(best, from[static_cast<std::size_t>((plane * image.height + h) * image.width + w)]);
      }
    }
    good = good && found[i] == best;
  }
  CHECK(good, "maxima of stride 2 where their input lies");
  CHECK(are_written(arena, y, image.batch), "what is no pixel of maxima is zero");
}

}  // namespace

void test_halves(const Kernels& kernels) {
  Random random(11);
  for (int i = 0; i < 60; ++i) {
    check_phases(kernels, any_image(static_cast<Dtype>(i % 2), random), random);
    check_maximum(kernels, any_image(static_cast<Dtype>(i % 2), random), random);
  }
}

}  // namespace mezzotint::tests
