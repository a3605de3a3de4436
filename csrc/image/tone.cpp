#include "image/tone.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/scratch.hpp"

// Products and sums must be rounded one by one, as in Pillow's build, also where the CPU could fuse them.
#ifdef __clang__
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

namespace mezzotint {
namespace {

const std::uint8_t* row_of(const Levels& image, std::int64_t y) {
  return image.data + y * image.stride;
}

std::uint8_t* row_to(const Levels& image, std::int64_t y) {
  return image.data + y * image.stride;
}

std::int32_t luma(const std::uint8_t* pixel) {
  return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16;
}

// Pillow's Image.blend of two levels: inside of 0 .. 255 cut off, not rounded.
std::uint8_t blended(std::int32_t from, std::int32_t level, float factor) {
  const float sum = static_cast<float>(from) + factor * static_cast<float>(level - from);
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(std::min(std::max(sum, 0.0F), 255.0F)));
}

// n / 13 for what the sum of a smoothed pixel can be, and half of 13.
constexpr std::uint32_t kMostSmooth = 13 * 255 + 6;
constexpr std::uint16_t over_13(std::uint16_t n) {
  return static_cast<std::uint16_t>(n * std::uint32_t{5042} >> 16U);
}
constexpr bool over_13_is_exact() {
  for (std::uint16_t n = 0; n <= kMostSmooth; ++n) {
    if (over_13(n) != n / 13) {
      return false;
    }
  }
  return true;
}
static_assert(over_13_is_exact());

}  // namespace

void apply_tables(const Levels& image, const std::uint8_t* tables, const Levels& result) {
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* const from = row_of(image, y);
    std::uint8_t* const to = row_to(result, y);
    if (image.channels == 3) {
      for (std::int64_t x = 0; x < 3 * image.width; x += 3) {
        to[x] = tables[from[x]];
        to[x + 1] = tables[kLevelCount + from[x + 1]];
        to[x + 2] = tables[2 * kLevelCount + from[x + 2]];
      }
    } else {
      for (std::int64_t x = 0; x < image.width; ++x) {
        to[x] = tables[from[x]];
      }
    }
  }
}

void count_levels(const Levels& image, std::uint32_t* counts) {
  // Neighbours are often equal, and would wait for each other at one counter: every second pixel has its own.
  std::uint32_t odd[3 * kLevelCount] = {};
  std::fill_n(counts, image.channels * kLevelCount, 0U);
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* at = row_of(image, y);
    for (std::int64_t x = 0; x < image.width; ++x, at += image.channels) {
      std::uint32_t* const here = x % 2 == 0 ? counts : odd;
      for (std::int64_t c = 0; c < image.channels; ++c) {
        ++here[c * kLevelCount + at[c]];
      }
    }
  }
  for (std::int64_t i = 0; i < image.channels * kLevelCount; ++i) {
    counts[i] += odd[i];
  }
}

void equalizing_tables(const std::uint32_t* counts, std::int64_t channels, std::uint8_t* tables) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const std::uint32_t* const of = counts + c * kLevelCount;
    std::uint8_t* const table = tables + c * kLevelCount;
    std::int64_t all = 0, last = 0;
    for (std::int64_t level = 0; level < kLevelCount; ++level) {
      all += of[level];
      last = of[level] != 0 ? of[level] : last;
    }
    const std::int64_t step = (all - last) / 255;
    std::int64_t below = step / 2;
    for (std::int64_t level = 0; level < kLevelCount; ++level) {
      table[level] = static_cast<std::uint8_t>(step == 0 ? level : std::min<std::int64_t>(below / step, 255));
      below += of[level];
    }
  }
}

std::int64_t luma_sum(const Levels& image) {
  std::int64_t sum = 0;
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* const row = row_of(image, y);
    for (std::int64_t x = 0; x < image.width; ++x) {
      sum += image.channels == 3 ? luma(row + 3 * x) : row[x];
    }
  }
  return sum;
}

void blend_with_grey(const Levels& image, float factor, const Levels& result) {
  if (image.channels == 1) {
    for (std::int64_t y = 0; y < image.height; ++y) {
      std::copy_n(row_of(image, y), image.width, row_to(result, y));
    }
    return;
  }
  const Scratch<std::uint8_t> greys(3 * image.width);
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* const from = row_of(image, y);
    std::uint8_t* const to = row_to(result, y);
    std::uint8_t* const grey = greys.get();
    for (std::int64_t x = 0; x < 3 * image.width; x += 3) {
      grey[x] = grey[x + 1] = grey[x + 2] = static_cast<std::uint8_t>(luma(from + x));
    }
    for (std::int64_t x = 0; x < 3 * image.width; ++x) {
      to[x] = blended(grey[x], from[x], factor);
    }
  }
}

void blend_with_smooth(const Levels& image, float factor, const Levels& result) {
  const std::int64_t step = image.channels, bytes = image.width * step;
  const Scratch<std::uint16_t> columns(bytes);
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* const from = row_of(image, y);
    std::uint8_t* const to = row_to(result, y);
    if (y == 0 || y == image.height - 1 || image.width < 3) {
      std::copy_n(from, bytes, to);
      continue;
    }
    const std::uint8_t* const above = row_of(image, y - 1);
    const std::uint8_t* const below = row_of(image, y + 1);
    std::uint16_t* const column = columns.get();
    for (std::int64_t x = 0; x < bytes; ++x) {
      column[x] = static_cast<std::uint16_t>(above[x] + from[x] + below[x]);
    }
    std::copy_n(from, step, to);
    for (std::int64_t x = step; x < bytes - step; ++x) {
      // Rounded: a sum is never half-way between two levels, since 13 is odd.
      const int sum = column[x - step] + column[x] + column[x + step] + 4 * from[x];
      to[x] = blended(over_13(static_cast<std::uint16_t>(sum + 6)), from[x], factor);
    }
    std::copy_n(from + bytes - step, step, to + bytes - step);
  }
}

namespace {

// Those x of [0, width) for which begin + x * slope, rounded down to whole pixels, lies in [0, side): [first, last).
struct Span {
  std::int64_t first, last;
};

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {  // by > 0
  return value >= 0 ? (value + by - 1) / by : -(-value / by);
}

Span inside(std::int64_t begin, std::int64_t slope, std::int64_t side, std::int64_t width) {
  const std::int64_t end = side << 16;
  if (slope == 0) {
    return begin >= 0 && begin < end ? Span{0, width} : Span{0, 0};
  }
  // The least x with begin + x * slope >= 0, and the least with >= end; falling lines are read backwards.
  if (slope > 0) {
    return {std::clamp<std::int64_t>(ceil_div(-begin, slope), 0, width),
            std::clamp<std::int64_t>(ceil_div(end - begin, slope), 0, width)};
  }
  return {std::clamp<std::int64_t>(ceil_div(begin - end + 1, -slope), 0, width),
          std::clamp<std::int64_t>(ceil_div(begin + 1, -slope), 0, width)};
}

template <int kChannels>
void warp_rows(const Levels& image, const Warp& warp, std::uint8_t fill, const Levels& result) {
  constexpr std::int32_t kOne = 1 << 16;
  for (std::int64_t y = 0; y < result.height; ++y) {
    const std::int64_t x0 = warp.c + y * warp.b, y0 = warp.f + y * warp.e;
    const Span across = inside(x0, warp.a, image.width, result.width);
    const Span down = inside(y0, warp.d, image.height, result.width);
    const std::int64_t first = std::max(across.first, down.first);
    const std::int64_t last = std::max(first, std::min(across.last, down.last));
    std::uint8_t* const to = row_to(result, y);
    std::fill_n(to, first * kChannels, fill);
    std::fill_n(to + last * kChannels, (result.width - last) * kChannels, fill);
    if (warp.a == kOne && warp.d == 0) {
      if (first < last) {
        std::copy_n(row_of(image, y0 >> 16) + ((x0 >> 16) + first) * kChannels, (last - first) * kChannels,
                    to + first * kChannels);
      }
      continue;
    }
    std::int64_t across_at = x0 + first * warp.a, down_at = y0 + first * warp.d;
    for (std::int64_t x = first; x < last; ++x, across_at += warp.a, down_at += warp.d) {
      const std::uint8_t* const from = row_of(image, down_at >> 16) + (across_at >> 16) * kChannels;
      for (int c = 0; c < kChannels; ++c) {
        to[x * kChannels + c] = from[c];
      }
    }
  }
}

}  // namespace

void warp_nearest(const Levels& image, const Warp& warp, std::uint8_t fill, const Levels& result) {
  if (image.channels == 3) {
    warp_rows<3>(image, warp, fill, result);
  } else {
    warp_rows<1>(image, warp, fill, result);
  }
}

}  // namespace mezzotint
