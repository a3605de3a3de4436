// Are images resampled as the sums of their taps say, in any part and size, without reading or writing beside it?
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "drive/levels.hpp"
#include "image/jpeg.hpp"
#include "tests/check.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {
namespace {

// Rows of exactly the bytes that they hold, in memory of exactly their number: what lies beside is not ours.
struct Image {
  std::int64_t height, width, channels;
  std::vector<std::uint8_t> bytes;

  Image(std::int64_t h, std::int64_t w, std::int64_t c)
      : height(h), width(w), channels(c), bytes(static_cast<std::size_t>(h * w * c)) {}

  [[nodiscard]] std::uint8_t& at(std::int64_t y, std::int64_t x, std::int64_t c) {
    return bytes[static_cast<std::size_t>((y * width + x) * channels + c)];
  }
  Levels levels() { return {bytes.data(), width * channels, height, width, channels}; }
};

Image noise(Random& random, std::int64_t height, std::int64_t width, std::int64_t channels) {
  Image image(height, width, channels);
  for (std::uint8_t& byte : image.bytes) {
    const std::int64_t kind = pick(random, 0, 2);
    byte = static_cast<std::uint8_t>(kind == 0 ? 0 : kind == 1 ? 255 : pick(random, 0, 255));
  }
  return image;
}

std::uint8_t level(std::int64_t sum) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>((sum + (1 << 21)) >> 22, 0, 255));
}

// The whole of an image resampled along one side, as the definition says.
Image resampled(Image& image, Filter filter, std::int64_t to, bool down) {
  const std::int64_t from = down ? image.height : image.width;
  if (from == to) {
    return image;
  }
  const TapPlan plan(filter, from, to, 0, to);
  const Taps taps = plan.taps();
  Image result(down ? to : image.height, down ? image.width : to, image.channels);
  for (std::int64_t y = 0; y < result.height; ++y) {
    for (std::int64_t x = 0; x < result.width; ++x) {
      const std::int64_t output = down ? y : x;
      for (std::int64_t c = 0; c < image.channels; ++c) {
        std::int64_t sum = 0;
        for (std::int64_t t = 0; t < taps.count; ++t) {
          const std::int64_t input = plan.begin() + taps.first[output] + t;
          sum += std::int64_t{taps.weights[output * taps.count + t]} *
                 (down ? image.at(input, x, c) : image.at(y, input, c));
        }
        result.at(y, x, c) = level(sum);
      }
    }
  }
  return result;
}

Image whole(Image& image, Filter filter, Extent to) {
  const bool first_down = image.height > to.height && image.height - to.height > 2 * (image.width - to.width);
  Image half = resampled(image, filter, first_down ? to.height : to.width, first_down);
  return resampled(half, filter, first_down ? to.width : to.height, !first_down);
}

Image part(Image& image, const Box& box) {
  Image result(box.height, box.width, image.channels);
  for (std::int64_t y = 0; y < box.height; ++y) {
    for (std::int64_t x = 0; x < box.width; ++x) {
      for (std::int64_t c = 0; c < image.channels; ++c) {
        result.at(y, x, c) = image.at(box.top + y, box.left + x, c);
      }
    }
  }
  return result;
}

Box any_box(Random& random, Extent of) {
  const std::int64_t top = pick(random, 0, of.height - 1), left = pick(random, 0, of.width - 1);
  return {top, left, pick(random, 1, of.height - top), pick(random, 1, of.width - left)};
}

// Left and right exchanged.
Image exchanged(Image image) {
  Image result(image.height, image.width, image.channels);
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      for (std::int64_t c = 0; c < image.channels; ++c) {
        result.at(y, x, c) = image.at(y, image.width - 1 - x, c);
      }
    }
  }
  return result;
}

void check_resize(Random& random, const Context& with) {
  const auto filter = static_cast<Filter>(pick(random, 0, 4));
  const Extent from{pick(random, 1, 60), pick(random, 1, 60)};
  const Extent to{pick(random, 0, 3) ? pick(random, 1, 60) : from.height,
                  pick(random, 0, 3) ? pick(random, 1, 60) : from.width};
  Image image = noise(random, from.height, from.width, pick(random, 0, 1) ? 3 : 1);
  const Box window = any_box(random, to), reach = resize_reach(filter, from, to, window);
  Image held = part(image, reach), result(window.height, window.width, image.channels), all = whole(image, filter, to);
  const bool mirrored = pick(random, 0, 1) == 1;
  resize_levels({filter, from, to, window, mirrored}, reach, held.levels(), result.levels(), with);
  const Image wanted = part(all, window);
  CHECK(result.bytes == (mirrored ? exchanged(wanted) : wanted).bytes, "resize");
}

void check_normalise(Random& random, const Context& with) {
  Image image = noise(random, pick(random, 1, 9), pick(random, 1, 150), pick(random, 0, 2) ? 3 : pick(random, 1, 3));
  const float mean[3] = {0.485F, 0.456F, 0.406F}, std[3] = {0.229F, 0.224F, 0.225F};
  for (const bool plain : {true, false}) {
    std::vector<float> planes(image.bytes.size());
    normalise_levels({image.levels()}, planes.data(), plain ? nullptr : mean, plain ? nullptr : std, with);
    bool good = true;
    for (std::int64_t c = 0; c < image.channels; ++c) {
      for (std::int64_t i = 0; i < image.height * image.width; ++i) {
        const float quotient = static_cast<float>(image.at(0, i, c)) / 255.0F;
        const float wanted = plain ? quotient : (quotient - mean[c]) / std[c];
        good = good && planes[static_cast<std::size_t>(c * image.height * image.width + i)] == wanted;
      }
    }
    CHECK(good, "normalise");
  }
}

}  // namespace

void test_levels(const Kernels& kernels) {
  Random random(5);
  for (int i = 0; i < 120; ++i) {
    const Context with{kernels, i % 3 + 1};
    check_resize(random, with);
    check_normalise(random, with);
  }
}

void test_jpeg_without_library() {
  const std::uint8_t file[4] = {0xFF, 0xD8, 0xFF, 0xD9};
  JpegHeader header{};
  Image result(1, 1, 3);
  CHECK(!jpeg_use("/no/such/library").empty(), "a library that is not there");
  CHECK(!jpeg_header(file, sizeof file, header), "no header without a library");
  CHECK(jpeg_decode(file, sizeof file, {0, 0, 1, 1}, result.levels()) < 0, "no pixels without a library");
}

}  // namespace mezzotint::tests
