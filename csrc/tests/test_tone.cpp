// Are pixels moved and blended without reading or writing beside the image? (Their values: tests/data/test_operate.py.)
#include <algorithm>
#include <cstdint>
#include <vector>

#include "image/tone.hpp"
#include "tests/check.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {
namespace {

void check_warp(Random& random) {
  const std::int64_t height = pick(random, 1, 30), width = pick(random, 1, 30), channels = pick(random, 0, 1) ? 3 : 1;
  std::vector<std::uint8_t> from(static_cast<std::size_t>(height * width * channels)), to(from.size());
  std::generate(from.begin(), from.end(), [&] { return static_cast<std::uint8_t>(pick(random, 0, 255)); });
  const Levels image{from.data(), width * channels, height, width, channels};
  const Levels result{to.data(), width * channels, height, width, channels};
  const auto slope = [&] {
    const std::int64_t kind = pick(random, 0, 3);
    return static_cast<std::int32_t>(kind == 0 ? 0 : kind == 1 ? 1 << 16 : pick(random, -200'000, 200'000));
  };
  const auto shift = [&] { return static_cast<std::int32_t>(pick(random, -40, 40) << 16 | pick(random, 0, 65'535)); };
  const Warp warp{slope(), slope(), shift(), slope(), slope(), shift()};
  warp_nearest(image, warp, 77, result);
  bool good = true;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const std::int64_t across = (warp.c + x * warp.a + y * warp.b) >> 16,
                         down = (warp.f + x * warp.d + y * warp.e) >> 16;
      const bool inside = across >= 0 && across < width && down >= 0 && down < height;
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::uint8_t wanted =
            inside ? from[static_cast<std::size_t>((down * width + across) * channels + c)] : std::uint8_t{77};
        good = good && to[static_cast<std::size_t>((y * width + x) * channels + c)] == wanted;
      }
    }
  }
  CHECK(good, "warp");
  blend_with_smooth(image, 1.0F, result);
  CHECK(to == from, "all of the image, nothing of the smooth one");
  blend_with_grey(image, 1.0F, result);
  CHECK(to == from, "all of the image, nothing of the grey one");
}

}  // namespace

void test_tone() {
  Random random(12);
  for (int i = 0; i < 400; ++i) {
    check_warp(random);
  }
}

}  // namespace mezzotint::tests
