// What are the kernels of the plane layout asked to do? Plain descriptions, as in jobs.hpp; a job is about one image.
#pragma once

#include <cstdint>

#include "core/activation.hpp"
#include "core/packed.hpp"
#include "core/planes.hpp"

namespace mezzotint {

// Two nonzeros of an output channel: where their inputs lie relative to the output's pixel in channel 0, in bytes, and
// their weights. An odd last one has a partner of weight zero.
struct PairEntry {
  std::int32_t first, second;
  float first_weight, second_weight;
};
// The same for BF16 activations: the first weight in the lower half.
struct HalfPairEntry {
  std::int32_t first, second;
  std::uint32_t weights;
};

// Two inputs of kGroup output channels, which have all of them in common: a dense convolution.
constexpr int kGroup = 4;
struct GroupEntry {
  std::int32_t first, second;
  float first_weights[kGroup], second_weights[kGroup];
};
struct HalfGroupEntry {
  std::int32_t first, second;
  std::uint32_t weights[kGroup];
};

// The weights of a dense convolution in FP32 with output channels in the lanes: [blocks][inputs] cells of kLaneChannels
// channels, several blocks a unit. Tiles are short enough that a byte counts their pixels.
constexpr int kLaneChannels = static_cast<int>(kCellBytes / sizeof(float));
constexpr int kLaneBlocks = 4;
constexpr std::int64_t kMostLaneCells = 16;
constexpr std::int64_t kMostWindowCells = 24;

// A window of three rows and columns on one channel: where the middle of each row lies relative to the output's pixel,
// in bytes, and the weights.
struct WindowEntry {
  std::int32_t offsets[3];
  float weights[3][3];
};
struct HalfWindowEntry {
  std::int32_t offsets[3];
  BFloat16 weights[3][3];
};

// How a convolution is summed: the nonzeros of each output channel in pairs; all weights, of a group of output channels
// at once; those with output channels in the lanes; depthwise, whole rows of windows; or all weights, by a matrix unit.
// A linear layer: its nonzeros, or all weights of a group.
enum class Summing : std::int32_t { kPairs, kGroups, kLanes, kWindows, kMatrices };
constexpr std::int32_t kSummings = 5;

// Which numbers of a plane are pixels: 1 or 0 in the type of the plane, and a bit for each.
struct InsideView {
  const void* ones;
  const std::uint32_t* bits;  // of a cell
};

// Where the numbers of a cell go that lie in one row: those of even lanes side by side, and those of odd ones. Bytes
// from the first pixel of the channel's first phase to where lane 0 or 1 goes, and which lanes there are.
struct PhaseRoute {
  std::int32_t even, odd;
  std::uint16_t even_mask, odd_mask;
};

// From planes to their phases for windows of stride 2. Offsets are those of a channel's first phase.
struct PhaseRoutes {
  struct Gap {
    std::int64_t first, bytes;
  };
  const PhaseRoute* routes;
  const std::int32_t* starts;  // [cells + 1]: the routes of each cell
  const Gap* gap;              // what no route leads to, [gaps]
  std::int64_t gaps;
  Gap behind;  // the same behind the last channel
  // Of several images that lie abreast in the phases alone: bytes from the first one's place to this one's.
  std::int64_t beside;
};

// y[o] = after(bias[o] + sum over the entries of o of weight * x at its offset + residual[o]), and zero where there is
// no pixel.
struct PlaneGatherJob {
  Planes x;
  Planes y;            // data null: not wanted
  Planes phases;       // of y, for windows of stride 2: all four, or the first ones; data null: not wanted
  PhaseRoutes routes;  // to them
  Planes residual;     // data null: absent; its pitch is that of y
  Summing summing;
  const void* entries;  // or cells of weights
  // The entries of part p of channel (or group) i are segments[p * units + i] up to the next one. A part is a range of
  // input channels small enough that what a tile reads of it stays in level 1 while all output channels pass over it;
  // their sums wait in `kept` in between, kCells cells in FP32 for each. Groups have one part.
  const std::int32_t* segments;
  // With channels in the lanes, or for a matrix unit, instead: where each input lies, in bytes; its sums are `kept`,
  // too. A matrix unit's inputs are whole blocks of columns, joined for one cell at a time or for a tile.
  const std::int32_t* offsets;
  std::int64_t inputs;
  bool one_cell;
  std::int64_t units, parts;
  float* kept;
  const float* bias;  // [channels], or whole groups, or whole and aligned blocks
  Activation after;
  InsideView inside;
  std::int64_t tile;  // cells that are summed at once, at most
};

// y = the maximum of x at the offsets given, in bytes, channel by channel; from the pixel of y, or if `halved` from
// that at twice its row and column.
struct PlaneMaxJob {
  Planes x, y;
  bool halved;
  const std::int32_t* offsets;
  std::int64_t taps;
  InsideView inside;
};

// Writes phases of an image: phase (a, b) of channel c is y's channel (a * stride_w + b) * channels + c. What is no
// pixel becomes `fill`: zero before a sum, minus infinity before a maximum.
struct PlaneSplitJob {
  const void* x;  // the first pixel of channel 0
  Dtype x_dtype;
  std::int64_t channels, height, width;
  bool in_planes;                     // x lies in planes: a little behind its rows may be read
  std::int64_t channel, row, column;  // strides of x in elements
  std::int64_t stride_h, stride_w;
  Planes y;
  float fill;
};

// y[c] = after(x[c] * factor[c]), zero where there is no pixel. The factor has x's geometry or one pixel a channel, and
// that of each image abreast then lies `factor.image` bytes behind the one before.
struct PlaneProductJob {
  Planes x, factor, y;
  bool one_factor;
  Activation after;
  InsideView inside;
};

// y[c][h][w] = x[c][h / factor_h][w / factor_w].
struct PlaneSpreadJob {
  Planes x, y;
  std::int64_t factor_h, factor_w;
};

// y[c] = the average over the pixels of an image of x's channel c, a plane of one pixel.
struct PlaneAverageJob {
  Planes x, y;
  const void* row;  // of several images abreast, whose rows fill a cell: ones at the pixels of this one
};

// Copies the pixels of a channel to y[h * row + w * column], in FP32 or in the type of x.
struct PlaneFlattenJob {
  Planes x;
  void* y;
  Dtype y_dtype;
  std::int64_t channel, row, column;  // strides of y in elements
};

// So many nonzeros of an output: where their inputs stand in a row, and their weights, zero where there is none.
constexpr std::int64_t kBlock = 16;
template <class T, class Place>
struct RowBlock {
  Place places[kBlock];
  T weights[kBlock];
};

// y[n][o] = after(bias[o] + sum of x[n] * weight[o]). x and weight have rows of `cells` cells.
struct RowsProductJob {
  Dtype dtype;
  const Cell* x;
  const Cell* weight;
  // Or the nonzeros: RowBlocks of the dtype, with places of 32 bits or of 16, segments[o] up to segments[o + 1] of
  // them.
  const void* blocks;
  const std::int32_t* segments;
  bool wide_places;
  std::int64_t cells, rows, outputs;
  const float* bias;
  Activation after;
  void* y;
  Dtype y_dtype;
  std::int64_t y_row;  // elements
};

}  // namespace mezzotint
