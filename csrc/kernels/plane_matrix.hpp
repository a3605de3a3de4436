// How does a matrix unit sum a convolution where neighbours are pixels? As matrix_gather.hpp does: cells of 32 pixels
// are joined to pairs of columns, and all weights pass over them.
#pragma once

#include "kernels/matrix_join.hpp"
#include "kernels/plane_finish.hpp"

namespace mezzotint {
namespace {

// The cells [first, first + count) of each of some images.
struct ImageCells {
  const PlaneGatherJob* jobs;
  std::int64_t images, first, count;
};

// Joins the columns of a part for its cells, to [cell][kMatrixPart][2][kTileRows].
inline void join_cells(const ImageCells& cells, const MatrixPart& part, Cell* inputs) {
  const PlaneGatherJob& job = cells.jobs[0];
  const std::uint8_t* x[kMatrixPixels];
  for (std::int64_t i = part.first_pixel; i < part.last_pixel; ++i) {
    x[i] = pixels_of(cells.jobs[i / cells.count].x, 0, 0) + (cells.first + i % cells.count) * kCellBytes;
  }
  for (std::int64_t block = part.begin; block < part.end; ++block) {
    for (std::int64_t pair = 0; pair < kTileRows; ++pair) {
      const std::int32_t* offsets = job.offsets + block * kMatrixColumns + pair * 2;
      Cell* to = inputs + (block - part.begin) * 2 * kTileRows + pair;
      for (std::int64_t i = part.first_pixel; i < part.last_pixel; ++i, to += kMatrixPart * 2 * kTileRows) {
        join(x[i] + offsets[0], x[i] + offsets[1], to);
      }
    }
  }
}

// Output channels [first, last) of so many cells, whose sums begin at `sums`.
template <int kCells>
void finish_plane(const PlaneGatherJob& job, std::int64_t first_cell, std::int64_t first, std::int64_t last,
                  const float* sums) {
  for (std::int64_t channel = first; channel < last; ++channel) {
    const Vec bias = broadcast(job.bias[channel]);
    Wide<BFloat16> found[kCells];
#pragma GCC unroll 8
    for (int cell = 0; cell < kCells; ++cell) {
      found[cell] = sums_of(sums, channel - first, cell, bias);
    }
    finish_cells<BFloat16, kCells>(job, channel, first_cell, found);
  }
}

using FinishPlane = void (*)(const PlaneGatherJob&, std::int64_t, std::int64_t, std::int64_t, const float*);

template <int kCells = kMatrixPixels>
FinishPlane find_finish_plane(std::int64_t cells) {
  if constexpr (kCells == 1) {
    return &finish_plane<1>;
  } else {
    return cells == kCells ? &finish_plane<kCells> : find_finish_plane<kCells - 1>(cells);
  }
}

// Several images, at most kMatrixPixels / the cells of their planes, share the way of the weights to the unit.
void plane_gather_matrices(const PlaneGatherJob* jobs, std::int64_t images, std::int64_t first_tile,
                           std::int64_t last_tile, std::int64_t first, std::int64_t last) {
  const PlaneGatherJob& job = jobs[0];
  Cell* const inputs = reinterpret_cast<Cell*>(job.kept) + kMatrixSumCells;
  const std::int64_t blocks = job.inputs / kMatrixColumns;
  const std::int64_t outs = last * kMatrixOuts < job.y.channels ? last * kMatrixOuts : job.y.channels;
  begin_products();
  each_tile(job, first_tile, last_tile, [&](std::int64_t begin, std::int64_t end) MEZZOTINT_INLINE {
    const ImageCells cells{jobs, images, begin, end - begin};
    const std::int64_t all = images * cells.count, together = job.one_cell ? 1 : all;
    const auto finish = [&](std::int64_t out, std::int64_t end_out, const float* found) MEZZOTINT_INLINE {
      for (std::int64_t image = 0; image < images; ++image, found += cells.count * kSumsTogether) {
        find_finish_plane(cells.count)(jobs[image], begin, out, end_out, found);
      }
    };
    each_pass(first * kMatrixOuts, outs, [&](std::int64_t first_out, std::int64_t last_out) MEZZOTINT_INLINE {
      const MatrixSums sums{static_cast<const Cell*>(job.entries), blocks, first_out, last_out, all, job.kept};
      each_part(blocks, [&](std::int64_t first_block, std::int64_t last_block) MEZZOTINT_INLINE {
        for (std::int64_t cell = 0; cell < all; cell += together) {
          const MatrixPart part{first_block, last_block, cell, cell + together};
          join_cells(cells, part, inputs);
          sum_part(sums, part, {{inputs, kInTurn}, kMatrixPart * 2 * kTileRows}, []() MEZZOTINT_INLINE {}, finish);
        }
      });
    });
  });
  end_products();
}

}  // namespace
}  // namespace mezzotint
