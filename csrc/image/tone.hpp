// How do the operations of augmentation policies change levels? With Pillow's results to the bit: its tables looked up,
// its blends computed in its arithmetic, its nearest-pixel transform.
//
// All of them: image and result have equal shapes and 1 or 3 channels, and do not overlap.
#pragma once

#include <cstdint>

#include "drive/levels.hpp"

namespace mezzotint {

constexpr std::int64_t kLevelCount = 256;

// result = tables[channel][level].
void apply_tables(const Levels& image, const std::uint8_t* tables, const Levels& result);

// counts[channel][level] = how many pixels have it.
void count_levels(const Levels& image, std::uint32_t* counts);

// PIL.ImageOps.equalize: tables[channel][level] from such counts.
void equalizing_tables(const std::uint32_t* counts, std::int64_t channels, std::uint8_t* tables);

// The sum over the image of its luma, Pillow's conversion from "RGB" to "L"; of one channel: of its levels.
std::int64_t luma_sum(const Levels& image);

// result = grey + factor * (image - grey), where grey is the luma of a pixel.
void blend_with_grey(const Levels& image, float factor, const Levels& result);

// result = smooth + factor * (image - smooth), where smooth is PIL.ImageFilter.SMOOTH: the edge of the image as it is,
// inside of it a pixel counting five times and its eight neighbours once.
void blend_with_smooth(const Levels& image, float factor, const Levels& result);

// The pixel (x, y) of the result is that of the image at (a x + b y + c, d x + e y + f), rounded down, all of them in
// units of 2^-16; outside of the image it is `fill`. Coordinates of all pixels must fit 32 bits.
struct Warp {
  std::int32_t a, b, c, d, e, f;
};
void warp_nearest(const Levels& image, const Warp& warp, std::uint8_t fill, const Levels& result);

}  // namespace mezzotint
