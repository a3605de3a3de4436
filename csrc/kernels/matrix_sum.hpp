// How do a matrix's columns become sums of a few pixels? Part by part, every block of outputs on the inputs of a part.
#pragma once

#include "kernels/cell.hpp"
#include "kernels/matrix.hpp"

namespace mezzotint {
namespace {

static_assert(kVecsOf<BFloat16> == 2, "a cell of BF16 is the two halves of a tile's columns");

// A range of column blocks, and of a tile's pixels.
struct MatrixPart {
  std::int64_t begin, end, first_pixel, last_pixel;
};

// The right tiles of a part's steps, for the first of its pixels.
struct PartInputs {
  Right first;
  std::int64_t pixel;  // cells from one pixel to the next
};

// What the sums are of: so many column blocks, outputs [first, last), pixels of a tile.
struct MatrixSums {
  const Cell* weights;  // [blocks of outputs][column_blocks][2][kTileRows], from output 0
  std::int64_t column_blocks, first, last, pixels;
  float* sums;  // [block of outputs][kMatrixPixels], or of one block only where none of them wait
};

// Sums over a part of the columns, and calls finish(first output, last output, sums) for blocks whose last part it is.
// Calls step() between products.
template <class Step, class Finish>
inline MEZZOTINT_INLINE void sum_part(const MatrixSums& of, const MatrixPart& part, const PartInputs& inputs, Step step,
                                      Finish finish) {
  const bool finishes = part.end == of.column_blocks && part.last_pixel == of.pixels;
  const bool waits = part.end - part.begin < of.column_blocks || part.last_pixel - part.first_pixel < of.pixels;
  float* sums = of.sums;
  for (std::int64_t out = of.first; out < of.last; out += kMatrixOuts) {
    const Cell* weights = of.weights + (out / kMatrixOuts * of.column_blocks + part.begin) * 2 * kTileRows;
    Right right = inputs.first;
    for (std::int64_t pixel = part.first_pixel; pixel < part.last_pixel; ++pixel, right.at += inputs.pixel) {
      add_products(sums + pixel * kSumsTogether, part.begin == 0, {weights, 1, 2 * kTileRows}, right,
                   part.end - part.begin);
      step();
    }
    if (finishes) {
      finish(out, of.last < out + kMatrixOuts ? of.last : out + kMatrixOuts, sums);
    }
    sums += waits ? kMatrixPixels * kSumsTogether : 0;  // sums that need not wait stay in level 1
  }
}

// The sums of an output, by its place in a block, and of a pixel, as a cell of BF16 is taken apart.
inline MEZZOTINT_INLINE Wide<BFloat16> sums_of(const float* sums, std::int64_t out, std::int64_t pixel, Vec bias) {
  const float* const from = sums + pixel * kSumsTogether + out / kTileRows * 2 * kSumsOfTile + out % kTileRows * 16;
  return {{bias + *reinterpret_cast<const Vec*>(from), bias + *reinterpret_cast<const Vec*>(from + kSumsOfTile)}};
}

// Calls use(begin, end) for parts of the columns, once if there are none.
template <class Use>
inline MEZZOTINT_INLINE void each_part(std::int64_t blocks, Use use) {
  const std::int64_t parts = blocks > 0 ? (blocks + kMatrixPart - 1) / kMatrixPart : 1;
  for (std::int64_t part = 0; part < parts; ++part) {
    use(blocks * part / parts, blocks * (part + 1) / parts);
  }
}

// Calls use(first, last) for outputs that are summed together.
template <class Use>
inline MEZZOTINT_INLINE void each_pass(std::int64_t first, std::int64_t last, Use use) {
  constexpr std::int64_t kTogether = kMatrixOuts * kMatrixOutBlocks;
  for (; first < last; first += kTogether) {
    use(first, last < first + kTogether ? last : first + kTogether);
  }
}

}  // namespace
}  // namespace mezzotint
