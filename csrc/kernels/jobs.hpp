// What is a kernel asked to do? The plain job descriptions that drivers fill in and ISA units carry out.
//
// Only PODs: nothing here may have code with external linkage, because the ISA units include it.
#pragma once

#include <cstdint>

#include "core/packed.hpp"
#include "core/tensor.hpp"

namespace mezzotint {

// One nonzero as the gather kernel sees it: where its input lies relative to the output's position, and its weight.
struct Entry {
  std::int32_t offset;  // in cells
  float weight;
};

// What follows the sum: y = relu(sum * scale[o] + shift[o] + residual). Null pointers leave a step out.
struct Epilogue {
  const float* scale = nullptr;
  const float* shift = nullptr;
  const float* residual = nullptr;                                          // at the first output position
  std::int64_t residual_block = 0, residual_row = 0, residual_channel = 0;  // in cells; one cell a column
  bool relu = false;
};

// y[block, row, o, col] = bias[o] + sum over the entries e of o of e.weight * x[block, row, col] at e.offset.
// Strides are in cells: x_* is the step of the input for one step of the output, y_* that of the output itself.
// The entries of (channel o, part p) are segments[o * parts + p] up to segments[o * parts + p + 1]. A part is a range
// of input channels small enough that the input of a tile stays in the cache while all output channels pass over it.
struct GatherJob {
  const float* x;
  float* y;
  std::int64_t x_block, x_row, x_column;
  std::int64_t y_block, y_row, y_column, y_channel;
  std::int64_t blocks, rows, columns, channels;
  std::int64_t tile_rows, tile_columns;  // largest tile; chosen from the shape alone, see plan/tiles.hpp
  const Entry* entries;
  const std::int32_t* segments;
  std::int64_t parts;
  const float* bias;  // [channels] or null
  Epilogue epilogue;
};

// sums[k] += sum over (block, row, column, image) of gy[..] of k's output channel * x[..] at offsets[k].
struct WeightGradJob {
  const float* x;
  const float* gy;
  std::int64_t x_block, x_row, x_column;
  std::int64_t gy_block, gy_row, gy_channel;
  std::int64_t blocks, rows, columns, channels;
  std::int64_t band_rows;        // output rows that are summed before the images are folded into one number
  const std::int32_t* offsets;   // [nnz], in cells
  const std::int32_t* segments;  // as in GatherJob
  std::int64_t parts;
  float* sums;  // [nnz]
};

// Copies one stored row (halo rows included) of one block between a tensor and the native layout.
struct PackJob {
  Tensor tensor;
  Packed packed;
};

}  // namespace mezzotint
