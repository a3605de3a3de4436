// What is a kernel asked to do? The plain job descriptions that drivers fill in and ISA units carry out.
//
// Only PODs: nothing here may have code with external linkage, because the ISA units include it.
// Pointers are to cells, strides are counted in cells; all activations of a job are of one type.
#pragma once

#include <cstdint>

#include "core/packed.hpp"
#include "core/tensor.hpp"

namespace mezzotint {

// One nonzero as the gather kernel sees it: where its input lies relative to the output's position, and its weight.
// Where a kernel takes two at a time, the first of a pair holds both weights, in 16 bits each (plan/join.cpp).
struct Entry {
  std::int32_t offset;  // in bytes
  float weight;
};

// Activations that are read beside the result, position by position; `at` is null where there are none.
struct Beside {
  const Cell* at = nullptr;  // at the first output position
  std::int64_t block = 0, row = 0, channel = 0;
};

// What follows the sum v of an output channel o, in this order; null pointers leave a step out:
//   v = v * scale[o] + shift[o];  v += residual;  v = relu(v);  v = 0 where mask * mask_scale[o] + mask_shift[o] <= 0;
//   sums[tile][o] = {sum of v, sum of v * companion} over the tile, where companion is v itself if there is none.
// The last is the reduction of a batch norm: its statistics in a forward pass, its two sums in a backward pass.
struct Epilogue {
  const float* scale = nullptr;
  const float* shift = nullptr;
  Beside residual;
  bool relu = false;
  Beside mask;
  const float* mask_scale = nullptr;  // both or none
  const float* mask_shift = nullptr;
  Beside companion;
  float* sums = nullptr;  // [tiles][channels][2]; the caller clears it
};

// What one output position of a gather reads, for fetching it ahead: stored rows and columns of the input, the first of
// them relative to its own position. rows = 0: nothing is fetched ahead.
struct Window {
  std::int64_t rows = 0, columns = 0;
  std::int64_t top = 0, left = 0;
  std::int64_t row_step = 0;          // stored rows for one output row
  std::int64_t row = 0, channel = 0;  // in cells
  std::int64_t channels = 0;
};

// What somebody reads next, to be fetched meanwhile: `columns` cells of each channel from `at` on; null: nothing.
struct Ahead {
  const Cell* at = nullptr;
  std::int64_t channels = 0, channel = 0, columns = 0;
};

// A tap of a window: stored rows and columns from the first output position's place in the input.
struct MatrixTap {
  std::int32_t row, column;
};

// A window whose inputs are joined once, a stored row of the input at a time, for all taps; rows = 0: there is none, or
// too much of it. A matrix's columns are then its taps, one after the other, with all `channels` of each.
struct MatrixWindow {
  const MatrixTap* taps = nullptr;
  std::int64_t first_row = 0, rows = 0, first_column = 0, columns = 0;  // that the taps span
  std::int64_t channels = 0;                                            // a multiple of kMatrixColumns
  std::int64_t row = 0, channel = 0;                                    // cells between them
  std::int64_t row_step = 0;                                            // stored rows for an output row
};

// A weight laid out whole, zeros included, for a matrix unit (kernels/matrix.hpp): blocks of kMatrixOuts outputs, each
// of blocks of kMatrixColumns columns, each of two tiles of 16 outputs. A column is an input channel and tap.
constexpr std::int64_t kMatrixOuts = 32, kMatrixColumns = 32;
struct WeightMatrix {
  const Cell* tiles = nullptr;            // [blocks of outputs][column_blocks][2][16]; null: there is no such weight
  const std::int32_t* offsets = nullptr;  // [column_blocks * kMatrixColumns]; where a column's input lies, in bytes
  std::int64_t column_blocks = 0;
  bool by_pixel = false;  // whether one pixel's inputs are joined at a time
  MatrixWindow window;
};

// Scratch of a gather by matrices: the sums of so many blocks of outputs, and the joined inputs of so many pixels and
// column blocks, or of a window's rows behind the places in them. Inputs and sums share level 2; a part of a block's
// weights, or of a pixel's inputs, is a third of level 1.
constexpr std::int64_t kMatrixPixels = 8, kMatrixPart = 8, kMatrixOutBlocks = 16;
constexpr std::int64_t kMatrixInputCells = kMatrixPixels * kMatrixPart * kMatrixColumns;
constexpr std::int64_t kMatrixSumCells = kMatrixPixels * kMatrixOutBlocks * kMatrixOuts * 2;

// Cells for the places of so many steps' tiles among the joined rows of a window.
[[maybe_unused]] static std::int64_t places_cells(std::int64_t column_blocks) {
  constexpr std::int64_t kPlaces = kCellBytes / sizeof(std::int32_t);
  return (column_blocks + kPlaces - 1) / kPlaces;
}

// y[block, row, o, col] = bias[o] + sum over the entries e of o of e.weight * x[block, row, col] at e.offset.
// x_* is the step of the input for one step of the output, y_* that of the output itself.
// The entries of (channel o, part p) are segments[o * parts + p] up to segments[o * parts + p + 1]. A part is a range
// of input channels small enough that the input of a tile stays in the cache while all output channels pass over it;
// the sums wait in scratch between the parts.
struct GatherJob {
  Dtype dtype;
  const Cell* x;
  Cell* y;
  std::int64_t x_block, x_row, x_column;
  std::int64_t y_block, y_row, y_column, y_channel;
  std::int64_t blocks, rows, columns, channels;
  std::int64_t tile_rows, tile_columns;  // largest tile; chosen from the shape alone, see plan/tiles.hpp
  const Entry* entries;
  const std::int32_t* segments;
  std::int64_t parts;
  WeightMatrix matrix;  // instead of entries and segments; tiles are then rows of at most kMatrixPixels
  const float* bias;    // [channels] or null
  Epilogue epilogue;
  bool stream;  // y is too large to stay in a cache: write around it
  Window window;
  Ahead ahead;
};

// sums[k] += sum over (block, row, column, image) of gy[..] of k's output channel * x[..] at offsets[k].
struct WeightGradJob {
  Dtype dtype;
  const Cell* x;
  const Cell* gy;
  std::int64_t x_block, x_row, x_column;
  std::int64_t gy_block, gy_row, gy_channel;
  std::int64_t blocks, rows, columns, channels;
  std::int64_t band_rows, band_columns;  // largest band: output pixels that are summed before the images are folded
  const std::int32_t* offsets;           // [nnz]
  const std::int32_t* segments;          // as in GatherJob
  std::int64_t parts;
  // For fetching ahead: the input channels of a part, the input rows of a band of r output rows, which are
  // fetch_span + (r - 1) * fetch_step, fetch_row cells apart, and its columns, fetch_width + (columns - 1) * x_column.
  // fetch_span = 0: nothing is fetched ahead.
  std::int64_t part_channels, x_channel;
  std::int64_t fetch_span, fetch_step, fetch_row, fetch_width;
  Ahead ahead;
};

// sums[part][tap][o] += sum over (block, row, column, image) of gy of output channel o * x at the tap: every weight's
// gradient, in groups of their own. A tap is (input channel, row and column of the window); parts are one. Where
// columns go in pairs, a tap is (input channel, row of the window), and parts are kPairParts; see
// kernels/dense_grad.hpp.
constexpr int kPairParts = 4;
constexpr std::int64_t kOutsTogether = 4;
struct DenseGradJob {
  Dtype dtype;
  const Cell* x;  // what tap 0 reads for the first output position; the group's first channel, as in gy
  const Cell* gy;
  std::int64_t x_block, x_row, x_channel;  // of stored rows and columns, whatever the stride
  std::int64_t gy_block, gy_row, gy_channel;
  std::int64_t blocks, rows, columns;         // of gy
  std::int64_t channels, kernel_h, kernel_w;  // of a window
  std::int64_t stride_h, stride_w, dilation_h, dilation_w;
  bool in_pairs;
  // The largest band: output positions that are summed before the images are folded.
  std::int64_t band_blocks, band_rows, band_columns;
  std::int64_t part_channels;  // whose inputs are combined at a time
  std::int64_t outs;           // of a tap in sums: the output channels, filled up to a multiple of kOutsTogether
};

// sums[tap][block of channels][block of outputs] (+)= sum over (block, row, column, image) of x of the channels at the
// tap * gy of the outputs: a whole weight's gradient, for a matrix unit. Blocks are of kMatrixColumns channels and
// kMatrixOuts outputs, their sums [2][2][16][16], channels before outputs.
struct MatrixGradJob {
  const Cell* x;   // what tap 0 reads for the first output position
  const Cell* gy;  // of the first output
  std::int64_t x_block, x_row, x_column, x_channel;
  std::int64_t gy_block, gy_row, gy_channel;
  std::int64_t blocks, rows, columns;
  std::int64_t tile_columns;  // output positions of a row that are summed at a time, at most kMatrixPixels
  std::int64_t channels, outs;
  const std::int64_t* taps;  // in cells
  std::int64_t tap_count;
};

// z = relu(x * scale[c] + shift[c] + other * other_scale[c] + other_shift[c] + addend); the halo of z and the lanes
// behind image batch - 1 become zero. A batch norm with a residual, the gradient of a batch norm, a sum: all are this.
struct NormaliseJob {
  Packed x;
  const float* scale;  // null: 1
  const float* shift;  // null: 0
  Packed other;        // data null: absent
  const float* other_scale;
  const float* other_shift;
  Packed addend;  // data null: absent; only beside `other`
  bool relu;
  Packed z;
  std::int64_t batch;
  bool stream;  // z is too large to stay in a cache
};

// v = x where mask * mask_scale[c] + mask_shift[c] > 0 (everywhere if the mask is absent), else 0; written to `masked`
// unless that is absent; sums[block][row][c] = {sum of v, sum of v * companion} over the row, companion absent: v * v.
struct ReduceJob {
  Packed x;
  Packed mask;
  const float* mask_scale;
  const float* mask_shift;
  Packed companion;
  Packed masked;
  float* sums;  // [blocks][rows][channels][2], or null
};

// One dimension of a pooling: the positions of a window i (or the windows of a position i) are `at` in
// links[segments[i]] up to links[segments[i + 1]], in descending order; none lies outside of the image. `tap` is the
// number of the position in the window.
struct Link {
  std::int32_t at, tap;
};
struct Links {
  const Link* links;
  const std::int32_t* segments;
};

// y = the maximum over each window of x; the halo of y and the lanes behind image batch - 1 become zero.
struct MaxPoolJob {
  Packed x, y;
  Links rows, columns;  // of the windows
  std::int64_t batch;
  bool stream;  // y is too large to stay in a cache
};

// gx = the sum of gy over the windows of which a position of x is the first maximum; its halo becomes zero.
struct MaxPoolGradJob {
  Packed x, y, gy, gx;
  Links rows, columns;                // of the windows
  Links window_rows, window_columns;  // of the positions
  std::int64_t kernel_w;
  // Powers of two: neighbouring rows of x that windows of one row hold, and rows of windows that hold one row of x.
  std::int64_t held_rows, held_windows;
  bool stream;  // gx is too large to stay in a cache
};

// pixel = the average over all pixels of the image; or, for the gradient, image = pixel / pixels of the image.
struct AverageJob {
  Packed image, pixel;
};

// Copies one stored row (halo rows included) of one block between a tensor and the native layout of the same type.
struct PackJob {
  Tensor tensor;
  Packed packed;
};

constexpr int kTapBits = 22;       // of a weight behind the point
constexpr int kResampleRows = 16;  // rows that are transposed together: the bytes of a 128-bit register

// How one side is resampled: output i is the sum of `count` inputs from first[i] on, each times its weight of
// weights[i * count ...], in units of 2^-kTapBits. All outputs have the same count, so that loops over it are
// predicted. The first inputs ascend, or descend.
struct Taps {
  const std::int32_t* first;
  const std::int32_t* weights;
  std::int64_t size, count;
};

// Resamples rows, or across rows, of an image of interleaved 8-bit channels; strides are bytes between rows.
struct ResampleJob {
  const std::uint8_t* from;
  std::int64_t from_stride, from_rows;
  std::uint8_t* to;
  std::int64_t to_stride;
  std::int64_t channels;
  Taps taps;
};

// Pixels of three interleaved levels become three planes: (level / 255 - mean) / std.
struct PlanesJob {
  const std::uint8_t* from;
  float* to[3];
  float mean[3], std[3];
};

}  // namespace mezzotint
