// How is the output of a sparse convolution computed? Pack a few blocks of images, or of pixels, gather, unpack.
#include "drive/activations.hpp"
#include "drive/conv2d.hpp"
#include "drive/gathering.hpp"
#include "drive/pixels.hpp"
#include "drive/run.hpp"
#include "drive/totals.hpp"
#include "drive/vectors.hpp"
#include "plan/expand.hpp"
#include "plan/tiles.hpp"

namespace mezzotint {
namespace {

struct Plan {
  TileShape tile;
  Gathering weight;
};

Plan plan_of(const SparseWeight& weight, const Conv& conv, const Packed& x, const Packed& y, bool totals,
             const Context& with) {
  if (Gathering::output_by_matrices(conv, weight.nnz, x.dtype, with)) {
    return {matrix_tile(y.width), {{}, matrices_of_output(weight, conv, x, y.width, with.threads)}};
  }
  const std::int64_t nonzeros = per_channel(weight.nnz, conv.out);
  const std::int64_t cells = tile_cells(conv, y.width, nonzeros, totals, y.dtype, with);
  const TileShape tile = choose_tile(x.dtype, conv, y.height, y.width, nonzeros, cells);
  const std::int64_t part =
      gather_part(x.dtype, conv, tile, conv.stride_h, conv.stride_w, {conv.in_per_group, conv.out}, weight.nnz);
  return {tile, {as_taken(expand_output(weight, conv, x, part, with.threads), x.dtype, with), std::nullopt}};
}

void gather(const Plan& plan, const float* bias, const Epilogue& epilogue, const Packed& x, const Packed& y,
            const Conv& conv, double* totals, const Context& with) {
  GatherJob job{};
  job.dtype = x.dtype;
  job.x = cell_at(x, 0, -conv.top, 0, -conv.left);
  job.x_block = x.block;
  job.x_row = x.row * conv.stride_h;
  job.x_column = conv.stride_w;
  job.y = cell_at(y, 0, 0, 0, 0);
  job.y_block = y.block;
  job.y_row = y.row;
  job.y_column = 1;
  job.y_channel = y.channel;
  job.blocks = y.blocks;
  job.rows = y.height;
  job.columns = y.width;
  job.channels = conv.out;
  job.tile_rows = plan.tile.rows;
  job.tile_columns = plan.tile.columns;
  plan.weight.attach(job);
  job.bias = bias;
  job.epilogue = epilogue;
  job.stream = exceeds_caches(y);
  if (exceeds_caches(x)) {
    job.window = {.rows = (conv.kernel_h - 1) * conv.dilation_h + 1,
                  .columns = (conv.kernel_w - 1) * conv.dilation_w + 1,
                  .row_step = conv.stride_h,
                  .row = x.row,
                  .channel = x.channel,
                  .channels = x.channels};
  }
  const Totals sums(totals, tiles_of(job), conv.out);
  job.epilogue.sums = sums.sums();
  run_gather(job, with);
  sums.finish(with.threads);
}

}  // namespace

void conv2d_output(const Tensor& x, const SparseWeight& weight, const Vector& bias, const Tensor& y, const Conv& conv,
                   const Context& with) {
  const Lanes lanes(conv, x, y);
  const std::int64_t blocks = lanes.blocks(y);
  if (blocks * y.c * y.h * y.w == 0) {
    return;
  }
  const Halo padding{conv.top, conv.bottom, conv.left, conv.right};
  const std::int64_t step = lanes.step(x, padding, y, {});
  const Activations packed_x = lanes.activations(x, step, padding), packed_y = lanes.activations(y, step, {});
  const Plan plan = plan_of(weight, conv, packed_x.view, packed_y.view, false, with);
  const Floats bias_floats(bias);
  for (std::int64_t first = 0; first < blocks; first += step) {
    const std::int64_t count = std::min(step, blocks - first);
    lanes.pack(x, first, count, packed_x, with);
    gather(plan, bias_floats.get(), {}, packed_x.for_kernels(count), packed_y.for_kernels(count), conv, nullptr, with);
    lanes.unpack(packed_y, first, count, y, with);
  }
}

void conv2d_output_packed(const Packed& x, const SparseWeight& weight, const float* bias, const Epilogue& epilogue,
                          const Packed& y, const Conv& conv, double* totals, const Context& with) {
  gather(plan_of(weight, conv, x, y, totals != nullptr, with), bias, epilogue, x, y, conv, totals, with);
}

}  // namespace mezzotint
