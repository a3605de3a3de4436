// How do the pixels of few images fill the lanes of cells? As samples of a linear layer: a convolution of one tap, a
// step of one and no padding is one for each pixel. A linear layer is the case of single pixels.
#pragma once

#include <cstdint>
#include <optional>

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "drive/activations.hpp"
#include "drive/context.hpp"
#include "plan/tiles.hpp"

namespace mezzotint {

bool reads_each_pixel(const Conv& conv);

// The pixels of all images as images of one pixel, if they lie evenly apart, as with the channels last.
std::optional<Tensor> even_pixels(const Tensor& of);

// Whether a tensor's pixels can be packed: they lie evenly apart, or in rows.
bool has_pixels(const Tensor& tensor);

// Packs the pixels of all images from block `first` of them on into the blocks of a linear layer's activations, with
// zeros behind the last one; and back.
void pack_pixels(const Tensor& from, std::int64_t first, const Packed& to, const Context& with);
void unpack_pixels(const Packed& from, std::int64_t first, const Tensor& to, const Context& with);

// Blocks of pixels that are packed at a time, where a block takes so many bytes: an odd number, so that channels do not
// share the sets of a cache.
std::int64_t pixel_blocks_at_a_time(std::int64_t blocks, std::int64_t block_bytes);

// What fills the lanes in a call on two tensors: the pixels of all images, or the images.
class Lanes {
 public:
  Lanes(const Conv& conv, const Tensor& x, const Tensor& y)
      : pixels_(reads_each_pixel(conv) && has_pixels(x) && has_pixels(y)) {}

  [[nodiscard]] std::int64_t blocks(const Tensor& tensor) const {
    return blocks_of(pixels_ ? tensor.n * tensor.h * tensor.w : tensor.n, tensor.dtype);
  }
  // Memory for `blocks` blocks of a tensor.
  [[nodiscard]] Activations activations(const Tensor& of, std::int64_t blocks, const Halo& halo) const {
    return {of.dtype, pixels_, blocks, of.c, of.h, of.w, halo};
  }
  // Blocks that are packed at a time.
  [[nodiscard]] std::int64_t step(const Tensor& x, const Halo& halo_x, const Tensor& y, const Halo& halo_y) const {
    if (pixels_) {
      return pixel_blocks_at_a_time(blocks(y), (x.c + y.c) * kCellBytes);
    }
    const std::int64_t cells = cells_of(native_layout(x.dtype, 1, x.c, x.h, x.w, halo_x)) +
                               cells_of(native_layout(y.dtype, 1, y.c, y.h, y.w, halo_y));
    return blocks_at_a_time(blocks(y), cells * kCellBytes);
  }
  void pack(const Tensor& from, std::int64_t first, std::int64_t count, const Activations& to,
            const Context& with) const {
    pixels_ ? pack_pixels(from, first, to.for_copies(count), with)
            : mezzotint::pack(images_of(from, first, count), to.for_copies(count), with);
  }
  void unpack(const Activations& from, std::int64_t first, std::int64_t count, const Tensor& to,
              const Context& with) const {
    pixels_ ? unpack_pixels(from.for_copies(count), first, to, with)
            : mezzotint::unpack(from.for_copies(count), images_of(to, first, count), with);
  }

 private:
  bool pixels_;
};

}  // namespace mezzotint
