// What becomes of a matrix unit's sums? Biases, epilogues and stores, as of a register tile.
#pragma once

#include "kernels/epilogue.hpp"
#include "kernels/grid.hpp"
#include "kernels/matrix_sum.hpp"
#include "kernels/tile.hpp"

namespace mezzotint {
namespace {

// Biases, what follows the sums, and the stores of output channels [first, last), whose sums begin at `sums`.
template <int kColumns>
void finish_channels(const GatherJob& job, const GridTile& tile, std::int64_t first, std::int64_t last,
                     const float* sums) {
  const bool has_epilogue = needs_epilogue(job.epilogue);
  const EpiloguePlace place = epilogue_place(job, tile.number, tile.block, tile.row, tile.column);
  Cell* y = job.y + tile.block * job.y_block + tile.row * job.y_row + tile.column * job.y_column;
  for (std::int64_t channel = first; channel < last; ++channel) {
    if (has_epilogue && channel + kChannelsAhead < last) {
      fetch_beside<1, kColumns>(job.epilogue, place, job.y_column, channel + kChannelsAhead);
    }
    const Vec bias = broadcast(job.bias ? job.bias[channel] : 0.0f);
    Tile<BFloat16, 1, kColumns> result;
    for (int pixel = 0; pixel < kColumns; ++pixel) {
      result.sum[0][pixel] = sums_of(sums, channel - first, pixel, bias);
    }
    if (has_epilogue) {
      finish(result, job.epilogue, place, job.y_column, channel);
    }
    if (job.stream) {
      write<true>(result, y + channel * job.y_channel, job.y_row, job.y_column);
    } else {
      write<false>(result, y + channel * job.y_channel, job.y_row, job.y_column);
    }
  }
}

using FinishFunction = void (*)(const GatherJob&, const GridTile&, std::int64_t, std::int64_t, const float*);

template <int kColumns = kMatrixPixels>
FinishFunction find_finish(std::int64_t columns) {
  if constexpr (kColumns == 1) {
    return &finish_channels<1>;
  } else {
    return columns == kColumns ? &finish_channels<kColumns> : find_finish<kColumns - 1>(columns);
  }
}

}  // namespace
}  // namespace mezzotint
