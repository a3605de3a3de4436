// How do activations lie in memory where neighbours are pixels? The plane layout, for inference at any batch size.
//
// [N][C][lead + rows * pitch]. A plane is one channel of one image: its rows follow each other at `pitch` elements, the
// last pitch - width of each being zeros, and `lead` zeros stand before the first row and behind the last plane. So a
// row's right border is the next one's left border, the space between planes is the upper and the lower border, and a
// tap of a convolution is one offset for all pixels of an image, taken as one long vector. Cells of 64 bytes hold 16
// neighbouring pixels in FP32 and 32 in BF16; the first row is aligned to one.
//
// Small images may lie abreast: the rows of several of them side by side, `pitch / abreast` numbers apart, so that each
// row fills a cell (docs/decisions/0046). They are one wide image then, whose columns between the small ones are zeros.
//
// A convolution of stride s reads the s * s phases of its input, each a plane of its own: phase (a, b) of channel c is
// channel (a * s + b) * C + c and holds the pixels (h * s + a, w * s + b).
#pragma once

#include <cstdint>

#include "core/packed.hpp"

namespace mezzotint {

// The planes of a tensor. Counted in elements, but for `data` and `image`.
struct Planes {
  std::uint8_t* data = nullptr;  // the lead of channel 0 of image 0
  Dtype dtype = Dtype::kFloat32;
  std::int64_t image = 0;  // bytes from image to image
  std::int64_t channels = 0, height = 0, width = 0;
  std::int64_t pitch = 0, lead = 0;
  std::int64_t stride = 0;   // from channel to channel
  std::int64_t abreast = 1;  // images side by side: `width` and `image` are those of all of them
};

// Numbers from an image to the one beside it, and the columns of one image.
[[maybe_unused]] static std::int64_t image_step(const Planes& planes) {
  return planes.pitch / planes.abreast;
}
[[maybe_unused]] static std::int64_t image_width(const Planes& planes) {
  return planes.width - (planes.abreast - 1) * image_step(planes);
}

// Cells that hold all rows of a plane.
[[maybe_unused]] static std::int64_t plane_cells(const Planes& planes) {
  const std::int64_t lanes = lanes_of(planes.dtype);
  return (planes.height * planes.pitch + lanes - 1) / lanes;
}

// The first pixel of a channel of an image.
[[maybe_unused]] static std::uint8_t* pixels_of(const Planes& planes, std::int64_t image, std::int64_t channel) {
  return planes.data + image * planes.image + (channel * planes.stride + planes.lead) * size_of(planes.dtype);
}

// Bytes of one image: all planes, and the lead that stands behind the last one.
[[maybe_unused]] static std::int64_t image_bytes(const Planes& planes) {
  return (planes.channels * planes.stride + planes.lead) * size_of(planes.dtype);
}

}  // namespace mezzotint
