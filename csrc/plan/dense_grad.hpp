// How is the gradient of a whole weight cut? Into bands of positions, ranges of output channels and chunks of images,
// by the shape alone.
#pragma once

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {

struct DenseGradCut {
  bool in_pairs;                                      // columns, see kernels/dense_grad.hpp
  std::int64_t band_blocks, band_rows, band_columns;  // output positions that are summed at a time
  std::int64_t part_channels;                         // input channels that are combined at a time
  std::int64_t outs;                                  // output channels (of a group) that share this, at most
  std::int64_t chunks;                                // of the bands, whose sums are kept apart
};

// `paired`: whether columns may go in pairs, which rounds once more.
DenseGradCut cut_dense_grad(const Conv& conv, const Packed& gy, bool paired);

std::int64_t bands_of(const DenseGradCut& cut, const Packed& gy);

// Cells of scratch for what is combined.
std::int64_t combined_cells(const DenseGradCut& cut, const Conv& conv);

}  // namespace mezzotint
