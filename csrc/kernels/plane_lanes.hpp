// How is a dense convolution of planes summed with output channels in the lanes? The weights of an input are vectors,
// its pixels are broadcast: no lane is spent on what lies between the rows, and no vector of pixels lies across two
// cells. The sums of a tile lie in memory, pixel by pixel; squares of them are turned on their way to the planes.
#pragma once

#include "kernels/plane_finish.hpp"
#include "kernels/square.hpp"

namespace mezzotint {
namespace {

// Blocks of output channels, and pixels, whose sums are in registers at once.
constexpr int kBlocksAtOnce = kVecsOf<float> == 1 ? kLaneBlocks : 1;
template <int kBlocks>
constexpr int kPixelsAtOnce = kSumVecs / (kBlocks * kVecsOf<float>);
// Inputs whose weights stay in level 1 while the pixels of a tile pass by.
constexpr std::int64_t kInputsAtOnce = 96;

// Inputs [first, last) of some blocks of output channels.
struct LaneInputs {
  const std::uint8_t* x;  // the first pixel's cell, in channel 0
  const Cell* weights;    // of the first block
  std::int64_t block;     // from block to block, in cells
  const std::int32_t* offsets;
  std::int64_t first, last;
};

// sums[pixel][block] = before[pixel * step + block] + the products of the inputs.
template <int kBlocks, int kPixels>
void add_inputs(const LaneInputs& in, const std::int32_t* places, const Cell* before, std::int64_t step, Cell* sums) {
  Wide<float> sum[kPixels][kBlocks];
  const std::uint8_t* pixels[kPixels];
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) {
    pixels[p] = in.x + places[p];
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      sum[p][b] = CellOf<float>::load(before + p * step + b);
    }
  }
  const Cell* weights = in.weights + in.first;
  for (std::int64_t i = in.first; i < in.last; ++i, ++weights) {
    Wide<float> weight[kBlocks];
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      weight[b] = CellOf<float>::load(weights + b * in.block);
    }
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
      const Vec value = broadcast(*reinterpret_cast<const float*>(pixels[p] + in.offsets[i]));
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) {
        each_vec(sum[p][b], weight[b], [&](Vec& s, Vec w) MEZZOTINT_INLINE { s += value * w; });
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      CellOf<float>::store<false>(sums + p * kBlocks + b, sum[p][b]);
    }
  }
}

template <int kBlocks, int kPixels = kPixelsAtOnce<kBlocks>>
void add_inputs(std::int64_t pixels, const LaneInputs& in, const std::int32_t* places, const Cell* before,
                std::int64_t step, Cell* sums) {
  if constexpr (kPixels > 0) {
    pixels == kPixels ? add_inputs<kBlocks, kPixels>(in, places, before, step, sums)
                      : add_inputs<kBlocks, kPixels - 1>(pixels, in, places, before, step, sums);
  }
}

// The pixels of a tile: where they lie from its first cell on, in bytes, and which of them each lane of its cells is; a
// lane that is none has any.
struct TilePixels {
  std::int64_t first_cell, cells, count = 0;
  std::int32_t places[kMostLaneCells * kLaneChannels];
  std::uint8_t pixel[kMostLaneCells * kLaneChannels];

  TilePixels(const InsideView& inside, std::int64_t first, std::int64_t last) : first_cell(first), cells(last - first) {
    for (std::int64_t lane = 0; lane < cells * kLaneChannels; ++lane) {
      const bool is_pixel = inside.bits[first + lane / kLaneChannels] >> lane % kLaneChannels & 1;
      pixel[lane] = static_cast<std::uint8_t>(is_pixel ? count : 0);
      places[count] = static_cast<std::int32_t>(lane * static_cast<std::int64_t>(sizeof(float)));
      count += is_pixel;
    }
  }
};

// The sums [pixel][kBlocks] of one block become cells [first_cell, first_cell + kCells) of its channels.
template <int kBlocks, int kCells>
void turn_cells(const PlaneGatherJob& job, const TilePixels& tile, std::int64_t first_cell, const Cell* sums,
                std::int64_t first_channel) {
  constexpr int kSide = kVecFloats >= 8 ? 8 : 4;
  Cell turned[kLaneChannels][kCells];
  const std::uint8_t* const pixel = tile.pixel + first_cell * kLaneChannels;
  for (int lane = 0; lane < kCells * kLaneChannels; lane += kSide) {
    for (int c = 0; c < kLaneChannels; c += kSide) {
      Square<float, kSide> square;
#pragma GCC unroll 8
      for (int i = 0; i < kSide; ++i) {
        square.row[i] = load_row<float, kSide>(reinterpret_cast<const float*>(sums + pixel[lane + i] * kBlocks) + c);
      }
      transpose(square);
#pragma GCC unroll 8
      for (int i = 0; i < kSide; ++i) {
        store_row<float, kSide>(reinterpret_cast<float*>(turned[c + i]) + lane, square.row[i]);
      }
    }
  }
  const std::int64_t left = job.y.channels - first_channel;
  for (std::int64_t c = 0; c < (left < kLaneChannels ? left : kLaneChannels); ++c) {
    Wide<float> cells[kCells];
#pragma GCC unroll 4
    for (int i = 0; i < kCells; ++i) {
      cells[i] = CellOf<float>::load(&turned[c][i]);
    }
    finish_cells<float, kCells>(job, first_channel + c, tile.first_cell + first_cell, cells);
  }
}

// All cells of a block's tile, by halves of kCells.
template <int kBlocks, int kCells = kSumVecs / kVecsOf<float> >= 4 ? 4 : 2>
void turn(const PlaneGatherJob& job, const TilePixels& tile, std::int64_t cell, const Cell* sums,
          std::int64_t first_channel) {
  for (; tile.cells - cell >= kCells; cell += kCells) {
    turn_cells<kBlocks, kCells>(job, tile, cell, sums, first_channel);
  }
  if constexpr (kCells > 1) {
    turn<kBlocks, kCells / 2>(job, tile, cell, sums, first_channel);
  }
}

template <int kBlocks>
void gather_blocks(const PlaneGatherJob& job, const TilePixels& tile, std::int64_t first_block) {
  constexpr std::int64_t kMost = kPixelsAtOnce<kBlocks>;
  const Cell* const weights = static_cast<const Cell*>(job.entries) + first_block * job.inputs;
  const Cell* const bias = reinterpret_cast<const Cell*>(job.bias) + first_block;
  Cell* const sums = reinterpret_cast<Cell*>(job.kept);
  const std::int64_t turns = (tile.count + kMost - 1) / kMost;  // cut evenly, as tiles are
  LaneInputs in{pixels_of(job.x, 0, 0) + tile.first_cell * kCellBytes, weights, job.inputs, job.offsets, 0, 0};
  for (; in.first < job.inputs; in.first = in.last) {
    in.last = in.first + kInputsAtOnce < job.inputs ? in.first + kInputsAtOnce : job.inputs;
    for (std::int64_t turn = 0; turn < turns; ++turn) {
      const std::int64_t begin = turn * tile.count / turns, end = (turn + 1) * tile.count / turns;
      Cell* const to = sums + begin * kBlocks;
      const bool is_first = in.first == 0;
      add_inputs<kBlocks>(end - begin, in, tile.places + begin, is_first ? bias : to, is_first ? 0 : kBlocks, to);
    }
  }
  for (std::int64_t b = 0; b < kBlocks; ++b) {
    turn<kBlocks>(job, tile, 0, sums + b, (first_block + b) * kLaneChannels);
  }
}

// As many blocks at once as there are, by halves of kBlocksAtOnce.
template <int kBlocks = kBlocksAtOnce>
void gather_lanes(const PlaneGatherJob& job, const TilePixels& tile, std::int64_t block, std::int64_t end) {
  for (; end - block >= kBlocks; block += kBlocks) {
    gather_blocks<kBlocks>(job, tile, block);
  }
  if constexpr (kBlocks > 1) {
    gather_lanes<kBlocks / 2>(job, tile, block, end);
  }
}

void plane_gather_lanes(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                        std::int64_t last) {
  const std::int64_t blocks = (job.y.channels + kLaneChannels - 1) / kLaneChannels;
  const std::int64_t end_block = last * kLaneBlocks < blocks ? last * kLaneBlocks : blocks;
  each_tile(job, first_tile, last_tile, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    const TilePixels tile(job.inside, begin, end);
    gather_lanes(job, tile, first * kLaneBlocks, end_block);
  });
}

}  // namespace
}  // namespace mezzotint
