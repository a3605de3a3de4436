// How do tensors become packed activations for the length of a call? A scratch buffer in the native layout for a few
// image blocks at a time, and the copies in and out.
#pragma once

#include <algorithm>

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "drive/context.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// Packed memory for `blocks` image blocks, seen in two ways: as the kernels walk it, and block by block for copies.
// A linear layer's blocks are the pixels of one row for the kernels, so that their tiles span several blocks.
struct Activations {
  Activations(Dtype dtype, bool linear, std::int64_t blocks, std::int64_t channels, std::int64_t height,
              std::int64_t width, const Halo& halo)
      : is_linear(linear),
        view(linear ? linear_layout(dtype, blocks, channels)
                    : native_layout(dtype, blocks, channels, height, width, halo)),
        memory(cells_of(view)) {
    view.data = memory.get();
  }

  // The first `blocks` blocks as the kernels see them, and as copies do.
  [[nodiscard]] Packed for_kernels(std::int64_t blocks) const {
    Packed part = view;
    (is_linear ? part.width : part.blocks) = blocks;
    return part;
  }
  [[nodiscard]] Packed for_copies(std::int64_t blocks) const {
    return is_linear ? by_block(for_kernels(blocks)) : for_kernels(blocks);
  }

  bool is_linear;
  Packed view;
  Scratch<Cell> memory;
};

// The images of blocks [first, first + blocks).
Tensor images_of(const Tensor& tensor, std::int64_t first, std::int64_t blocks);

// Copies a tensor into packed memory of its type, with zeros in the halo and in the lanes behind the last image; and
// back.
void pack(const Tensor& from, const Packed& to, const Context& with);
void unpack(const Packed& from, const Tensor& to, const Context& with);

// Whether a convolution is pointwise, without padding, and steps over inputs in a row. Those that it reads fill every
// second line of a cache then, whose other half stays empty.
bool leaves_out(const Conv& conv);

// The height x width inputs that such a convolution reads, side by side, and what it is on them.
Activations read_by(const Conv& conv, const Packed& x, std::int64_t height, std::int64_t width, int threads);
Conv without_stride(Conv conv);

// Copies packed memory into packed memory with another halo, which becomes zero.
void copy_packed(const Packed& from, const Packed& to, int threads);

// Zeroes the halo and, in the last block, the lanes behind image batch - 1.
void clear_borders(const Packed& view, std::int64_t batch, int threads);

}  // namespace mezzotint
