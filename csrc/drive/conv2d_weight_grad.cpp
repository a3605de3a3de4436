// How is the weight gradient at the nonzeros computed? Pack a few blocks of images of x and gy, add the sampled dot
// products, and convert the sums at the end.
#include <algorithm>

#include "drive/activations.hpp"
#include "drive/conv2d.hpp"
#include "drive/matrix_grad.hpp"
#include "drive/run.hpp"
#include "drive/sums.hpp"
#include "plan/expand.hpp"
#include "plan/rows.hpp"
#include "plan/tiles.hpp"

namespace mezzotint {
namespace {

// How often an input that a stride leaves others beside must be read for a copy to pay.
constexpr std::int64_t kReadsThatPay = 80;

void sample(const SampleList& list, const Packed& x, const Packed& gy, const Band& band, const Conv& conv,
            std::int64_t nnz, const SumsOf& sums, const Context& with) {
  WeightGradJob job{};
  job.dtype = x.dtype;
  job.x = cell_at(x, 0, -conv.top, 0, -conv.left);
  job.x_block = x.block;
  job.x_row = x.row * conv.stride_h;
  job.x_column = conv.stride_w;
  job.gy = cell_at(gy, 0, 0, 0, 0);
  job.gy_block = gy.block;
  job.gy_row = gy.row;
  job.gy_channel = gy.channel;
  job.blocks = gy.blocks;
  job.rows = gy.height;
  job.columns = gy.width;
  job.channels = conv.out;
  job.band_rows = band.rows;
  job.band_columns = band.columns;
  job.offsets = list.offsets.get();
  job.segments = list.segments.data();
  job.parts = list.parts;
  job.part_channels = band.part_channels;
  job.x_channel = x.channel;
  if (conv.groups == 1 && (exceeds_caches(x) || exceeds_caches(gy))) {
    const bool one_row = conv.kernel_h == 1;
    job.fetch_span = (conv.kernel_h - 1) * conv.dilation_h + 1;
    job.fetch_step = one_row ? 1 : conv.stride_h;
    job.fetch_row = one_row ? job.x_row : x.row;
    job.fetch_width = (conv.kernel_w - 1) * conv.dilation_w + 1;
  }
  run_weight_grad(job, nnz, sums.chunks(), sums.get(), with);
}

// The same where a matrix unit sums the gradients of all weights: those at the nonzeros are taken.
void sample_matrices(const Packed& x, const Packed& gy, const SparseWeight& weight, const Vector& gvalues,
                     const Conv& conv, const Context& with) {
  const MatrixGrad grad(x, gy, conv, chunks_of(gy.blocks * gy.height * gy.width, weight.nnz));
  const SumsOf sums(gvalues, grad.chunks(), with.threads);
  const std::vector<std::int32_t> starts = starts_of_rows(weight, conv);
  grad.run(with, [&](std::int64_t chunk, std::int64_t first, std::int64_t last, const MatrixGrad::Sums& found) {
    found.take(weight, conv, starts, first, last, sums.chunk(chunk));
  });
  sums.finish(with.threads);
}

}  // namespace

void conv2d_weight_grad(const Tensor& x, const Tensor& gy, const SparseWeight& weight, const Vector& gvalues,
                        const Conv& conv, const Context& with) {
  if (weight.nnz == 0) {
    return;
  }
  const SumsOf sums(gvalues, 1, with.threads);
  const std::int64_t blocks = gy.c * gy.h * gy.w == 0 ? 0 : blocks_of(gy.n, gy.dtype);
  if (blocks > 0) {
    const bool linear = is_linear(conv, x, gy);
    const Halo padding{conv.top, conv.bottom, conv.left, conv.right};
    const Packed one_x = native_layout(x.dtype, 1, x.c, x.h, x.w, padding);
    const Packed one_gy = native_layout(gy.dtype, 1, gy.c, gy.h, gy.w, {});
    const std::int64_t step = blocks_at_a_time(blocks, (cells_of(one_x) + cells_of(one_gy)) * kCellBytes);
    const Activations packed_x(x.dtype, linear, step, x.c, x.h, x.w, padding);
    const Activations packed_gy(gy.dtype, linear, step, gy.c, gy.h, gy.w, {});
    const Band band = choose_band(conv, packed_gy.view.height, packed_gy.view.width, weight.nnz);
    const SampleList list = expand_weight_grad(weight, conv, packed_x.view, band.part_channels, with.threads);
    for (std::int64_t first = 0; first < blocks; first += step) {
      const std::int64_t count = std::min(step, blocks - first);
      pack(images_of(x, first, count), packed_x.for_copies(count), with);
      pack(images_of(gy, first, count), packed_gy.for_copies(count), with);
      sample(list, packed_x.for_kernels(count), packed_gy.for_kernels(count), band, conv, weight.nnz, sums, with);
    }
  }
  sums.finish(with.threads);
}

void conv2d_weight_grad_packed(const Packed& x, const Packed& gy, const SparseWeight& weight, const Vector& gvalues,
                               const Conv& conv, const Context& with) {
  if (weight.nnz == 0) {
    return;
  }
  if (gy.blocks * gy.height * gy.width > 0 && MatrixGrad::pays(conv, weight.nnz, x.dtype, with)) {
    return sample_matrices(x, gy, weight, gvalues, conv, with);
  }
  if (leaves_out(conv) && weight.nnz >= kReadsThatPay * conv.in()) {
    const Activations read = read_by(conv, x, gy.height, gy.width, with.threads);
    return conv2d_weight_grad_packed(read.view, gy, weight, gvalues, without_stride(conv), with);
  }
  const Band band = choose_band(conv, gy.height, gy.width, weight.nnz);
  const SumsOf sums(gvalues, choose_chunks(x, gy, band, weight.nnz), with.threads);
  const SampleList list = expand_weight_grad(weight, conv, x, band.part_channels, with.threads);
  sample(list, x, gy, band, conv, weight.nnz, sums, with);
  sums.finish(with.threads);
}

}  // namespace mezzotint
