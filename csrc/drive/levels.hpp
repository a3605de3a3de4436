// What is done to 8-bit images of interleaved channels? Resized, and turned into normalised planes.
#pragma once

#include <vector>

#include "drive/context.hpp"
#include "plan/taps.hpp"

namespace mezzotint {

// A part [top, top + height) x [left, left + width) of an image.
struct Box {
  std::int64_t top, left, height, width;
};

// The size of a whole image.
struct Extent {
  std::int64_t height, width;
};

// 8-bit levels [height][width][channels] in memory; rows lie `stride` bytes apart.
struct Levels {
  std::uint8_t* data;
  std::int64_t stride, height, width, channels;
};

// The part of an image of size `from` that the part `window` of its resized self, of size `to`, depends on.
Box resize_reach(Filter filter, Extent from, Extent to, const Box& window);

// An image of size `from` becomes one of size `to`, of which `window` is wanted; perhaps with left and right exchanged.
struct Resizing {
  Filter filter;
  Extent from, to;
  Box window;
  bool mirrored;
};

// result = the window. The part `held` of the image is in memory, which must be what resize_reach says, or more. Bits
// are those of Pillow's Image.resize. Throws InvalidInput.
void resize_levels(const Resizing& how, const Box& held, const Levels& image, const Levels& result,
                   const Context& with);

// planes float32 [images][channels][height][width] = image / 255, less mean, over std (both null: not normalised).
// One image after another where there are several, of one size.
void normalise_levels(const std::vector<Levels>& images, float* planes, const float* mean, const float* std,
                      const Context& with);

}  // namespace mezzotint
