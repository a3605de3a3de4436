// How is a sparse convolution summed where its weights pay as a whole matrix? The gather of gather.hpp on a matrix unit.
//
// The inputs of a few pixels are joined to pairs of columns once, part by part, and every output channel's weights,
// zeros included, pass over them. Either the joined inputs of all pixels lie in the level-2 cache meanwhile and the
// weights of 32 channels in level 1; or, where a pixel is read for many taps, its inputs lie in level 1. A unit that multiplies sixteen times as fast as the vectors makes up for zeros at densities above some four
// percent. An output is summed in the order of the columns whatever the tile.
#pragma once

#include "kernels/cell.hpp"
#include "kernels/epilogue.hpp"
#include "kernels/grid.hpp"
#include "kernels/matrix.hpp"
#include "kernels/tile.hpp"

namespace mezzotint {
namespace {

static_assert(kVecsOf<BFloat16> == 2, "a cell of BF16 is the two halves of a tile's columns");

// Two cells as pairs of words, image by image, in the two vectors that CellOf<BFloat16> makes of a cell.
struct Joined {
  Bits v[2];
};
inline MEZZOTINT_INLINE Joined joined(const Cell* first, const Cell* second) {
  const Bits a = once(*reinterpret_cast<const Bits*>(first));
  const Bits b = once(*reinterpret_cast<const Bits*>(second));
#ifdef __AVX512BF16__
  return {{(Bits)_mm512_unpacklo_epi16((__m512i)a, (__m512i)b), (Bits)_mm512_unpackhi_epi16((__m512i)a, (__m512i)b)}};
#else
  return {{(a & 0xffffu) | (b << 16), (a >> 16) | (b & 0xffff0000u)}};
#endif
}

// Where the work on a tile lies: inputs [pixel][column block][half][kTileRows], sums [block of outputs][pixel].
struct MatrixScratch {
  Cell* inputs;
  float* sums;
  explicit MatrixScratch(Cell* scratch)
      : inputs(scratch), sums(reinterpret_cast<float*>(scratch + kMatrixInputCells)) {}
  [[nodiscard]] Cell* inputs_of(std::int64_t pixel) const { return inputs + pixel * kMatrixPart * 2 * kTileRows; }
};

// A range of column blocks, and of a tile's pixels.
struct MatrixPart {
  std::int64_t begin, end, first_pixel, last_pixel;
};

// Joins the columns of a part for its pixels.
inline void join_inputs(const GatherJob& job, const GridTile& tile, const MatrixPart& part,
                        const MatrixScratch& scratch) {
  const char* origin = reinterpret_cast<const char*>(input_of(job, tile));
  for (std::int64_t block = part.begin; block < part.end; ++block) {
    for (std::int64_t pair = 0; pair < kTileRows; ++pair) {
      const std::int32_t* offsets = job.matrix.offsets + block * kMatrixColumns + pair * 2;
      const auto* a = reinterpret_cast<const Cell*>(origin + offsets[0]);
      const auto* b = reinterpret_cast<const Cell*>(origin + offsets[1]);
      Cell* to = scratch.inputs + (block - part.begin) * 2 * kTileRows + pair;
      for (std::int64_t pixel = part.first_pixel; pixel < part.last_pixel; ++pixel) {
        const Joined pairs = joined(a + pixel * job.x_column, b + pixel * job.x_column);
        *reinterpret_cast<Bits*>(to) = pairs.v[0];
        *reinterpret_cast<Bits*>(to + kTileRows) = pairs.v[1];
        to += kMatrixPart * 2 * kTileRows;
      }
    }
  }
}

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
    const std::int64_t row = channel - first;
    const float* from = sums + row / kTileRows * 2 * kSumsOfTile + row % kTileRows * 16;
    Tile<BFloat16, 1, kColumns> result;
    for (int pixel = 0; pixel < kColumns; ++pixel, from += kSumsTogether) {
      result.sum[0][pixel].v[0] = bias + *reinterpret_cast<const Vec*>(from);
      result.sum[0][pixel].v[1] = bias + *reinterpret_cast<const Vec*>(from + kSumsOfTile);
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

// What is asked for while a tile is summed: its share of what the next one reads, and of what the job names.
class FetchAhead {
 public:
  FetchAhead(const GatherJob& job, const Cell* next_x, std::int64_t piece, std::int64_t pieces, std::int64_t steps)
      : job_(job),
        next_x_(next_x),
        next_(0, next_x ? job.window.channels : 0, steps),
        ahead_(piece * job.ahead.channels / pieces, (piece + 1) * job.ahead.channels / pieces, steps) {}
  inline MEZZOTINT_INLINE void step() {
    next_.step([&](std::int64_t first, std::int64_t last)
                   MEZZOTINT_INLINE { fetch_ahead(job_, next_x_, 1, job_.tile_columns, first, last); });
    ahead_.step([&](std::int64_t first, std::int64_t last) MEZZOTINT_INLINE { fetch(job_.ahead, first, last); });
  }

 private:
  const GatherJob& job_;
  const Cell* next_x_;
  Evenly next_, ahead_;
};

// Output channels [first, last), at most kMatrixOuts * kMatrixOutBlocks of them, of one tile.
void matrix_tile(const GatherJob& job, const GridTile& tile, std::int64_t first, std::int64_t last, FetchAhead& ahead,
                 const MatrixScratch& scratch) {
  const std::int64_t blocks = job.matrix.column_blocks, pixels = job.matrix.by_pixel ? 1 : tile.columns;
  const FinishFunction finish_tile = find_finish(tile.columns);
  MatrixPart part{};
  do {
    part.end = blocks < part.begin + kMatrixPart ? blocks : part.begin + kMatrixPart;
    const bool whole = part.end - part.begin == blocks && pixels == tile.columns;
    for (part.first_pixel = 0; part.first_pixel < tile.columns; part.first_pixel += pixels) {
      part.last_pixel = part.first_pixel + pixels;
      join_inputs(job, tile, part, scratch);
      float* sums = scratch.sums;
      for (std::int64_t channel = first; channel < last; channel += kMatrixOuts) {
        const Cell* weights = job.matrix.tiles + (channel / kMatrixOuts * blocks + part.begin) * 2 * kTileRows;
        for (std::int64_t pixel = part.first_pixel; pixel < part.last_pixel; ++pixel) {
          add_products(sums + pixel * kSumsTogether, part.begin == 0, {weights, 1, 2 * kTileRows},
                       scratch.inputs_of(pixel - part.first_pixel), part.end - part.begin);
          ahead.step();
        }
        if (part.end == blocks && part.last_pixel == tile.columns) {
          finish_tile(job, tile, channel, last < channel + kMatrixOuts ? last : channel + kMatrixOuts, sums);
        }
        sums += whole ? 0 : kMatrixPixels * kSumsTogether;  // sums that need not wait stay in level 1
      }
    }
    part.begin = part.end;
  } while (part.begin < blocks);
}

void matrix_gather(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
                   std::int64_t last_channel, void* memory) {
  constexpr std::int64_t kTogether = kMatrixOuts * kMatrixOutBlocks;
  begin_products();
  const MatrixScratch scratch(static_cast<Cell*>(memory));
  const std::int64_t parts = (job.matrix.column_blocks + kMatrixPart - 1) / kMatrixPart;
  const std::int64_t out_blocks = (last_channel - first_channel + kMatrixOuts - 1) / kMatrixOuts;
  for (std::int64_t number = first_tile; number < last_tile; ++number) {
    const GridTile tile = grid_tile(job, number);
    const bool next = job.window.rows > 0 && number + 1 < last_tile;
    FetchAhead ahead(job, next ? input_of(job, grid_tile(job, number + 1)) : nullptr, number - first_tile,
                     last_tile - first_tile, (parts > 0 ? parts : 1) * out_blocks * tile.columns);
    for (std::int64_t first = first_channel; first < last_channel; first += kTogether) {
      matrix_tile(job, tile, first, last_channel < first + kTogether ? last_channel : first + kTogether, ahead,
                  scratch);
    }
  }
  end_products();
  if (job.stream) {
    fence();
  }
}

}  // namespace
}  // namespace mezzotint
