#include "drive/activations.hpp"

#include <cstring>

#include "kernels/zero.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

void clear_lanes(const Packed& view, std::int64_t row, std::int64_t first_lane) {
  const auto kept = static_cast<std::size_t>(first_lane * size_of(view.dtype));
  for (std::int64_t c = 0; c < view.channels; ++c) {
    Cell* cell = cell_at(view, view.blocks - 1, row, c, 0);
    for (std::int64_t w = 0; w < view.width; ++w, ++cell) {
      std::memset(cell->bytes + kept, 0, kCellBytes - kept);
    }
  }
}

// Calls body(block, row) for every row of `rows` a block.
template <class Body>
void for_rows(const Packed& view, std::int64_t rows, int threads, const Body& body) {
  const std::int64_t cells = view.blocks * rows * view.channels * view.width;
  parallel_for(view.blocks * rows, useful_threads(cells * 4, threads),
               [&](std::int64_t i) { body(i / rows, i % rows); });
}

}  // namespace

Tensor images_of(const Tensor& tensor, std::int64_t first, std::int64_t blocks) {
  Tensor part = tensor;
  const std::int64_t lanes = lanes_of(tensor.dtype);
  part.data = static_cast<char*>(tensor.data) + first * lanes * tensor.stride_n * size_of(tensor.dtype);
  part.n = std::min(tensor.n - first * lanes, blocks * lanes);
  return part;
}

void pack(const Tensor& from, const Packed& to, const Context& with) {
  const PackJob job{from, to};
  for_rows(to, stored_rows(to), with.threads,
           [&](std::int64_t block, std::int64_t row) { with.kernels.pack_row(job, block, row); });
}

void unpack(const Packed& from, const Tensor& to, const Context& with) {
  const PackJob job{to, from};
  for_rows(from, from.height, with.threads,
           [&](std::int64_t block, std::int64_t row) { with.kernels.unpack_row(job, block, row); });
}

void copy_packed(const Packed& from, const Packed& to, int threads) {
  const auto bytes = static_cast<std::size_t>(from.width) * sizeof(Cell);
  for_rows(to, stored_rows(to), threads, [&](std::int64_t block, std::int64_t stored_row) {
    const std::int64_t row = stored_row - to.halo.top;
    if (zero_halo(to, block, row)) {
      for (std::int64_t c = 0; c < to.channels; ++c) {
        std::memcpy(cell_at(to, block, row, c, 0), cell_at(from, block, row, c, 0), bytes);
      }
    }
  });
}

bool leaves_out(const Conv& conv) {
  const bool padded = conv.top + conv.bottom + conv.left + conv.right != 0;
  return conv.taps() == 1 && conv.stride_w > 1 && !padded;
}

Activations read_by(const Conv& conv, const Packed& x, std::int64_t height, std::int64_t width, int threads) {
  Activations read(x.dtype, false, x.blocks, x.channels, height, width, {});
  for_rows(read.view, height, threads, [&](std::int64_t block, std::int64_t row) {
    for (std::int64_t c = 0; c < x.channels; ++c) {
      const Cell* from = cell_at(x, block, row * conv.stride_h, c, 0);
      Cell* to = cell_at(read.view, block, row, c, 0);
      for (std::int64_t w = 0; w < width; ++w) {
        to[w] = from[w * conv.stride_w];
      }
    }
  });
  return read;
}

Conv without_stride(Conv conv) {
  conv.stride_h = conv.stride_w = 1;
  return conv;
}

void clear_borders(const Packed& view, std::int64_t batch, int threads) {
  const Halo& halo = view.halo;
  if (batch % lanes_of(view.dtype) == 0 && halo.top + halo.bottom + halo.left + halo.right == 0) {
    return;
  }
  for_rows(view, stored_rows(view), threads, [&](std::int64_t block, std::int64_t stored_row) {
    const std::int64_t row = stored_row - view.halo.top;
    const std::int64_t images = batch % lanes_of(view.dtype);
    const bool ragged = images != 0 && block + 1 == view.blocks;
    if (zero_halo(view, block, row) && ragged) {
      clear_lanes(view, row, images);
    }
  });
}

}  // namespace mezzotint
