// How do inputs become right tiles of a matrix unit? Cells of two columns are joined to pairs of words.
//
// Either the columns of a few pixels, whatever they read; or the rows of a window's input, whose tiles then serve all
// taps: a ring of as many rows as the window spans.
#pragma once

#include "kernels/grid.hpp"
#include "kernels/matrix_sum.hpp"

namespace mezzotint {
namespace {

// Two cells as pairs of words, image by image, in the two vectors that CellOf<BFloat16> makes of a cell.
struct Joined {
  Bits v[2];
};
inline MEZZOTINT_INLINE Joined joined(const void* first, const void* second) {
  const Bits a = once(*static_cast<const LooseBits*>(first));
  const Bits b = once(*static_cast<const LooseBits*>(second));
#ifdef __AVX512BF16__
  return {{(Bits)_mm512_unpacklo_epi16((__m512i)a, (__m512i)b), (Bits)_mm512_unpackhi_epi16((__m512i)a, (__m512i)b)}};
#else
  return {{(a & 0xffffu) | (b << 16), (a >> 16) | (b & 0xffff0000u)}};
#endif
}

// Joins two cells, aligned or not, into the same row of both tiles.
inline MEZZOTINT_INLINE void join(const void* first, const void* second, Cell* to) {
  const Joined pairs = joined(first, second);
  *reinterpret_cast<Bits*>(to) = pairs.v[0];
  *reinterpret_cast<Bits*>(to + kTileRows) = pairs.v[1];
}

// Joins the columns of a part for its pixels, to [pixel][kMatrixPart][2][kTileRows].
inline void join_inputs(const GatherJob& job, const GridTile& tile, const MatrixPart& part, Cell* inputs) {
  const char* origin = reinterpret_cast<const char*>(input_of(job, tile));
  for (std::int64_t block = part.begin; block < part.end; ++block) {
    for (std::int64_t pair = 0; pair < kTileRows; ++pair) {
      const std::int32_t* offsets = job.matrix.offsets + block * kMatrixColumns + pair * 2;
      const auto* a = reinterpret_cast<const Cell*>(origin + offsets[0]);
      const auto* b = reinterpret_cast<const Cell*>(origin + offsets[1]);
      Cell* to = inputs + (block - part.begin) * 2 * kTileRows + pair;
      for (std::int64_t pixel = part.first_pixel; pixel < part.last_pixel; ++pixel) {
        join(a + pixel * job.x_column, b + pixel * job.x_column, to);
        to += kMatrixPart * 2 * kTileRows;
      }
    }
  }
}

// Joined rows of a window's input, [row of the ring][column][block of channels][2][kTileRows].
class JoinedRows {
 public:
  JoinedRows(const GatherJob& job, Cell* cells, std::int32_t* places)
      : job_(job),
        window_(job.matrix.window),
        columns_((job.columns - 1) * job.x_column + window_.columns),
        pixel_(window_.channels / kMatrixColumns * 2 * kTileRows),
        cells_(cells),
        places_(places) {}

  // Cells from one column to the next.
  [[nodiscard]] std::int64_t pixel() const { return pixel_; }
  // Of the tiles that a tile's first pixel reads, from there on, step by step.
  [[nodiscard]] const std::int32_t* places() const { return places_; }
  [[nodiscard]] const Cell* inputs_of(const GridTile& tile) const {
    return cells_ + tile.column * job_.x_column * pixel_;
  }

  // Joins what rows of a tile are missing.
  void reach(const GridTile& tile) {
    const std::int64_t first = tile.row * window_.row_step + window_.first_row, end = first + window_.rows;
    if (tile.block == block_ && end == end_) {
      return;
    }
    for (std::int64_t row = tile.block == block_ && first <= end_ && end_ < end ? end_ : first; row < end; ++row) {
      join_row(tile.block, row);
    }
    block_ = tile.block;
    end_ = end;
    find_places(tile);
  }

  // What the next row of tiles is the first to read. (The rows of an image lie one behind the other.)
  [[nodiscard]] Ahead ahead_of(const GridTile& tile) const {
    if (tile.row + 1 >= job_.rows) {
      return {};
    }
    return {row_at(tile.block, end_), window_.channels * window_.row_step, window_.channel, columns_};
  }

 private:
  [[nodiscard]] const Cell* row_at(std::int64_t block, std::int64_t row) const {
    return job_.x + block * job_.x_block + row * window_.row + window_.first_column;
  }
  [[nodiscard]] std::int64_t slot(std::int64_t row) const {
    return ((row % window_.rows) + window_.rows) % window_.rows * columns_ * pixel_;
  }

  void join_row(std::int64_t block, std::int64_t row) {
    const Cell* from = row_at(block, row);
    Cell* to = cells_ + slot(row);
    for (std::int64_t column = 0; column < columns_; ++column) {
      for (std::int64_t channel = 0; channel < window_.channels; channel += kMatrixColumns) {
        const Cell* at = from + column + channel * window_.channel;
        for (std::int64_t pair = 0; pair < kTileRows; ++pair) {
          join(at, at + window_.channel, to + pair);
          at += 2 * window_.channel;
        }
        to += 2 * kTileRows;
      }
    }
  }

  void find_places(const GridTile& tile) {
    const std::int64_t blocks = window_.channels / kMatrixColumns;
    for (std::int64_t step = 0; step < job_.matrix.column_blocks; ++step) {
      const MatrixTap& tap = window_.taps[step / blocks];
      const std::int64_t cells = slot(tile.row * window_.row_step + tap.row) +
                                 (tap.column - window_.first_column) * pixel_ + step % blocks * 2 * kTileRows;
      places_[step] = static_cast<std::int32_t>(cells);
    }
  }

  const GatherJob& job_;
  const MatrixWindow& window_;
  std::int64_t columns_, pixel_;
  Cell* cells_;
  std::int32_t* places_;
  std::int64_t block_ = -1, end_ = 0;
};

}  // namespace
}  // namespace mezzotint
