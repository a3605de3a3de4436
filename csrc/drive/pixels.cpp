#include "drive/pixels.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

// Calls copy(bytes from the tensor's beginning, bytes from the first pixel's place, bytes) for each run of a channel's
// pixels [first, first + count), which lie in rows.
template <class Copy>
void runs(const Tensor& of, std::int64_t channel, std::int64_t first, std::int64_t count, const Copy& copy) {
  const std::int64_t size = size_of(of.dtype), pixels = of.h * of.w;
  std::int64_t image = first / pixels, row = first / of.w % of.h, column = first % of.w;
  const bool rows_touch = of.stride_h == of.w;
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t left = rows_touch ? pixels - row * of.w - column : of.w - column;
    const std::int64_t run = std::min(count - done, left);
    const std::int64_t at = image * of.stride_n + channel * of.stride_c + row * of.stride_h + column;
    copy(at * size, done * size, static_cast<std::size_t>(run * size));
    done += run;
    column = 0;
    row = rows_touch || row + 1 == of.h ? 0 : row + 1;
    image += row == 0;
  }
}

// Calls body(channel, its first place, how many pixels there are) for all channels of packed pixels.
template <class Body>
void for_channels(const Tensor& of, std::int64_t first, const Packed& packed, const Context& with, const Body& body) {
  const std::int64_t lanes = lanes_of(packed.dtype);
  const std::int64_t count = std::min(packed.blocks * lanes, of.n * of.h * of.w - first * lanes);
  parallel_for(packed.channels, useful_threads(packed.channels * packed.blocks * 4, with.threads),
               [&](std::int64_t channel) { body(channel, cell_at(packed, 0, 0, channel, 0)->bytes, count); });
}

}  // namespace

bool reads_each_pixel(const Conv& conv) {
  return conv.taps() == 1 && conv.stride_h == 1 && conv.stride_w == 1 &&
         conv.top + conv.bottom + conv.left + conv.right == 0;
}

std::optional<Tensor> even_pixels(const Tensor& of) {
  Tensor found = of;
  found.n = found.h = found.w = 1;
  const std::pair<std::int64_t, std::int64_t> axes[] = {{of.w, of.stride_w}, {of.h, of.stride_h}, {of.n, of.stride_n}};
  for (const auto& [count, stride] : axes) {
    if (count != 1 && found.n == 1) {
      found.stride_n = stride;
    } else if (count != 1 && stride != found.n * found.stride_n) {
      return std::nullopt;
    }
    found.n *= count;
  }
  return found;
}

bool has_pixels(const Tensor& tensor) {
  return tensor.stride_w == 1 || even_pixels(tensor);
}

std::int64_t pixel_blocks_at_a_time(std::int64_t blocks, std::int64_t block_bytes) {
  return blocks_at_a_time(blocks, block_bytes) | 1;
}

void pack_pixels(const Tensor& from, std::int64_t first, const Packed& to, const Context& with) {
  if (from.stride_w != 1) {
    return pack(images_of(*even_pixels(from), first, to.blocks), to, with);
  }
  const auto* const data = static_cast<const std::uint8_t*>(from.data);
  for_channels(from, first, to, with, [&](std::int64_t channel, std::uint8_t* place, std::int64_t count) {
    runs(from, channel, first * lanes_of(from.dtype), count,
         [&](std::int64_t at, std::int64_t done, std::size_t bytes) { std::memcpy(place + done, data + at, bytes); });
    const std::int64_t filled = count * size_of(from.dtype);
    std::memset(place + filled, 0, static_cast<std::size_t>(to.blocks * kCellBytes - filled));
  });
}

void unpack_pixels(const Packed& from, std::int64_t first, const Tensor& to, const Context& with) {
  if (to.stride_w != 1) {
    return unpack(from, images_of(*even_pixels(to), first, from.blocks), with);
  }
  auto* const data = static_cast<std::uint8_t*>(to.data);
  for_channels(to, first, from, with, [&](std::int64_t channel, const std::uint8_t* place, std::int64_t count) {
    runs(to, channel, first * lanes_of(to.dtype), count,
         [&](std::int64_t at, std::int64_t done, std::size_t bytes) { std::memcpy(data + at, place + done, bytes); });
  });
}

}  // namespace mezzotint
