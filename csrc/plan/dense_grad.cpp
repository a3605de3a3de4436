#include "plan/dense_grad.hpp"

#include <algorithm>

#include "core/divide.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kSteps = 64;         // whose sum is worth folding: 7 % of the time goes into that
constexpr std::int64_t kStepsInRow = 16;    // more of a band's rows share what is combined of the rows between them
constexpr std::int64_t kOuts = 32;          // whose combined gradients take half of level 2
constexpr std::int64_t kPartChannels = 8;   // and their inputs a sixth
constexpr std::int64_t kLeastChannels = 8;  // of either side: fewer would not pay for combining those of the other
constexpr std::int64_t kTasks = 16;         // enough for the threads that share a memory

// Pieces of equal size, none larger than `most`.
std::int64_t evenly(std::int64_t all, std::int64_t most) {
  return divide_up(all, divide_up(all, std::max<std::int64_t>(1, most)));
}

bool goes_in_pairs(const Conv& conv, const Packed& gy) {
  const bool three = conv.kernel_w == 3 && conv.stride_w == 1 && conv.dilation_w == 1 && gy.width > 1;
  const bool many = std::min(conv.out_per_group(), conv.in_per_group) >= kLeastChannels;
  // The sum of two numbers of FP16 may be none.
  return three && many && gy.dtype != Dtype::kFloat16;
}

}  // namespace

DenseGradCut cut_dense_grad(const Conv& conv, const Packed& gy, bool paired) {
  DenseGradCut cut{};
  cut.in_pairs = paired && goes_in_pairs(conv, gy);
  const std::int64_t across = cut.in_pairs ? divide_up(gy.width, 2) : gy.width;
  const std::int64_t steps = evenly(across, kStepsInRow);
  cut.band_columns = cut.in_pairs ? 2 * steps : steps;
  cut.band_rows = evenly(gy.height, kSteps / steps);
  cut.band_blocks = std::clamp<std::int64_t>(kSteps / (steps * cut.band_rows), 1, gy.blocks);
  cut.part_channels = std::min(conv.in_per_group, kPartChannels);
  cut.outs = std::min(conv.out_per_group(), kOuts);
  const std::int64_t ranges = conv.groups * divide_up(conv.out_per_group(), cut.outs);
  cut.chunks = std::clamp<std::int64_t>(kTasks / ranges, 1, bands_of(cut, gy));
  return cut;
}

std::int64_t bands_of(const DenseGradCut& cut, const Packed& gy) {
  return divide_up(gy.blocks, cut.band_blocks) * divide_up(gy.height, cut.band_rows) *
         divide_up(gy.width, cut.band_columns);
}

std::int64_t combined_cells(const DenseGradCut& cut, const Conv& conv) {
  if (!cut.in_pairs) {
    return 0;
  }
  const std::int64_t rows = (cut.band_rows - 1) * conv.stride_h + (conv.kernel_h - 1) * conv.dilation_h + 1;
  const std::int64_t gradients = 2 * cut.outs * cut.band_rows, inputs = kPairParts * cut.part_channels * rows;
  return (gradients + inputs) * cut.band_blocks * (cut.band_columns / 2);
}

}  // namespace mezzotint
