// How do activations lie in memory while the kernels work? The native layout and its address arithmetic.
//
// [N/lanes][top + H + bottom][C][left + W + right][lanes]. A cell is the images of one pixel and channel: 64 bytes, one
// cache line, aligned; 16 images of FP32, or 32 of a 16-bit type. The halo of zeros is stored, so that every tap of
// every stride and dilation is an aligned load without boundary code; a batch that is no multiple of the lanes is
// filled up with zeros. Rows before channels: the channels of a row are neighbours, which avoids the cache aliasing of
// [C][H][W].
#pragma once

#include <cstdint>

#include "core/dtype.hpp"

namespace mezzotint {

constexpr std::int64_t kCellBytes = 64;  // one cache line

// Opaque: only kernels know what is in it. Addresses and strides are counted in cells.
struct alignas(kCellBytes) Cell {
  std::uint8_t bytes[kCellBytes];
};

// Images in a cell.
[[maybe_unused]] static std::int64_t lanes_of(Dtype dtype) {
  return kCellBytes / size_of(dtype);
}

struct Halo {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
};

// A view of packed activations. Strides are in cells.
struct Packed {
  Cell* data = nullptr;  // the first stored cell, halo included
  Dtype dtype = Dtype::kFloat32;
  std::int64_t blocks = 0, height = 0, channels = 0, width = 0;
  Halo halo;
  std::int64_t block = 0, row = 0, channel = 0;
};

// The cell of block b, channel c at the interior position (h, w). Static, like all that the ISA units call.
[[maybe_unused]] static Cell* cell_at(const Packed& view, std::int64_t b, std::int64_t h, std::int64_t c,
                                      std::int64_t w) {
  const std::int64_t pixel = (h + view.halo.top) * view.row + (w + view.halo.left);
  return view.data + (b * view.block + pixel + c * view.channel);
}

inline std::int64_t stored_rows(const Packed& view) {
  return view.halo.top + view.height + view.halo.bottom;
}

inline std::int64_t stored_columns(const Packed& view) {
  return view.halo.left + view.width + view.halo.right;
}

inline std::int64_t blocks_of(std::int64_t batch, Dtype dtype) {
  const std::int64_t lanes = lanes_of(dtype);
  return (batch + lanes - 1) / lanes;
}

// The native layout of a [blocks * lanes, channels, height, width] tensor with a stored halo.
inline Packed native_layout(Dtype dtype, std::int64_t blocks, std::int64_t channels, std::int64_t height,
                            std::int64_t width, const Halo& halo) {
  Packed view{nullptr, dtype, blocks, height, channels, width, halo};
  view.channel = stored_columns(view);
  view.row = channels * view.channel;
  view.block = stored_rows(view) * view.row;
  return view;
}

// A linear layer's activations [N, C]: blocks of images stand side by side as the pixels of a single row.
inline Packed linear_layout(Dtype dtype, std::int64_t blocks, std::int64_t channels) {
  return native_layout(dtype, 1, channels, 1, blocks, {});
}

// The same memory as seen by pack and unpack, which need one block of images at a time.
inline Packed by_block(const Packed& linear) {
  Packed view = linear;
  view.blocks = linear.width;
  view.width = 1;
  view.block = 1;
  return view;
}

inline std::int64_t cells_of(const Packed& view) {
  return view.blocks * view.block;
}

}  // namespace mezzotint
