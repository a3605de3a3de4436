#include "drive/matrix_grad.hpp"

#include <algorithm>

#include "core/divide.hpp"
#include "plan/matrices.hpp"
#include "plan/rows.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kSumsBytes = 1 << 20;  // of level 2
constexpr std::int64_t kOuts = 256;           // whose turned gradients lie beside them
constexpr std::int64_t kTasks = 16;           // enough for the threads that share a memory

std::int64_t outs_at_once(const Conv& conv) {
  const std::int64_t fitting = kSumsBytes / (conv.row() * static_cast<std::int64_t>(sizeof(float)));
  return std::clamp(fitting / kMatrixOuts * kMatrixOuts, kMatrixOuts, kOuts);
}

std::int64_t passes_of(const Conv& conv) {
  return divide_up(conv.out, outs_at_once(conv));
}

std::int64_t tiles_of(const Packed& gy) {
  return gy.blocks * gy.height * divide_up(gy.width, matrix_tile(gy.width).columns);
}

}  // namespace

std::int64_t MatrixGrad::chunks_for(const Packed& gy, const Conv& conv, std::int64_t most) {
  return std::clamp<std::int64_t>(divide_up(kTasks, passes_of(conv)), 1, std::min(tiles_of(gy), most));
}

bool MatrixGrad::takes(const Conv& conv, Dtype dtype, const Context& with) {
  return with.kernels.matrices && dtype == Dtype::kBFloat16 && conv.groups == 1 && conv.out % kMatrixOuts == 0 &&
         conv.in_per_group % kMatrixColumns == 0;
}

bool MatrixGrad::pays(const Conv& conv, std::int64_t nnz, Dtype dtype, const Context& with) {
  return takes(conv, dtype, with) && matrix_pays(conv.out, conv.row(), nnz);
}

bool MatrixGrad::at_once(const Conv& conv) {
  return outs_at_once(conv) >= conv.out;
}

void MatrixGrad::Sums::add(const SparseWeight& weight, const Conv& conv, const std::vector<std::int32_t>& starts,
                           std::int64_t first, std::int64_t last, float* values) const {
  for (std::int64_t out = first; out < last; ++out) {
    const std::int64_t end = starts[static_cast<std::size_t>(out + 1)];
    for (std::int64_t k = starts[static_cast<std::size_t>(out)]; k < end; ++k) {
      values[k] += at(out - first, position_in_row(weight, conv, out, k));
    }
  }
}

MatrixGrad::MatrixGrad(const Packed& x, const Packed& gy, const Conv& conv, std::int64_t most_chunks) {
  job_.x = cell_at(x, 0, -conv.top, 0, -conv.left);
  job_.x_block = x.block;
  job_.x_row = x.row * conv.stride_h;
  job_.x_column = conv.stride_w;
  job_.x_channel = x.channel;
  job_.gy = cell_at(gy, 0, 0, 0, 0);
  job_.gy_block = gy.block;
  job_.gy_row = gy.row;
  job_.gy_channel = gy.channel;
  job_.blocks = gy.blocks;
  job_.rows = gy.height;
  job_.columns = gy.width;
  job_.tile_columns = matrix_tile(gy.width).columns;
  job_.channels = conv.in_per_group;
  job_.outs = conv.out;
  for (std::int64_t ky = 0; ky < conv.kernel_h; ++ky) {
    for (std::int64_t kx = 0; kx < conv.kernel_w; ++kx) {
      taps_.push_back(ky * conv.dilation_h * x.row + kx * conv.dilation_w);
    }
  }
  job_.taps = taps_.data();
  job_.tap_count = conv.taps();
  const std::int64_t channel_blocks = conv.in_per_group / kMatrixColumns;
  for (std::int64_t channel = 0; channel < conv.in_per_group; ++channel) {
    const std::int64_t within = channel / 16 % 2 * 512 + channel % 16 * 16;
    for (std::int64_t tap = 0; tap < conv.taps(); ++tap) {
      places_.push_back({static_cast<std::int32_t>(tap * channel_blocks + channel / kMatrixColumns),
                         static_cast<std::int32_t>(within)});
    }
  }
  passes_ = passes_of(conv);
  tiles_ = tiles_of(gy);
  chunks_ = chunks_for(gy, conv, most_chunks);
}

void MatrixGrad::compute(const Context& with, std::int64_t first, std::int64_t last, std::int64_t chunk,
                         float* sums) const {
  const Scratch<Cell> turned(kMatrixPixels * (last - first));
  MatrixGradJob job = job_;
  job.gy += first * job.gy_channel;
  job.outs = last - first;
  with.kernels.matrices->weight_grad(job, tiles_ * chunk / chunks_, tiles_ * (chunk + 1) / chunks_, true, turned.get(),
                                     sums);
}

}  // namespace mezzotint
