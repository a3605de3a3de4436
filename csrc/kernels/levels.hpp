// How do 8-bit levels become a network's input? Divided by 255 and normalised, in torchvision's operations and order.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

// One row of the image, all channels: the quotients are true divisions, so the bits are torchvision's.
void normalise_levels(const LevelsJob& job, std::int64_t y) {
  constexpr std::int64_t kPixels = 64;  // as many are taken apart at a time
  const std::uint8_t* image = job.image + y * job.image_stride;
  for (std::int64_t x = 0; x < job.width; x += kPixels) {
    const std::int64_t pixels = job.width - x < kPixels ? job.width - x : kPixels;
    for (std::int64_t c = 0; c < job.channels; ++c) {
      float* const plane = job.planes + (c * job.height + y) * job.width + x;
      const float mean = job.mean ? job.mean[c] : 0.0F, std = job.std ? job.std[c] : 1.0F;
      for (std::int64_t i = 0; i < pixels; ++i) {
        plane[i] = static_cast<float>(image[(x + i) * job.channels + c]);
      }
      for (std::int64_t i = 0; i < pixels; ++i) {
        plane[i] = plane[i] / 255.0F;
      }
      if (job.mean) {
        for (std::int64_t i = 0; i < pixels; ++i) {
          plane[i] = (plane[i] - mean) / std;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mezzotint
