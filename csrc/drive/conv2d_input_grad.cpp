// How is the input gradient of a sparse convolution computed? The gather kernel over the output gradient with the
// transposed order of the nonzeros, once for every phase of the stride; see plan/phases.hpp.
#include <vector>

#include "drive/activations.hpp"
#include "drive/conv2d.hpp"
#include "drive/gathering.hpp"
#include "drive/pixels.hpp"
#include "drive/run.hpp"
#include "drive/totals.hpp"
#include "plan/expand.hpp"
#include "plan/phases.hpp"
#include "plan/tiles.hpp"

namespace mezzotint {
namespace {

struct Axes {
  Axis vertical, horizontal;
};

Axes axes_of(const Conv& conv, Size gx, Size gy) {
  return {{gx.h, gy.h, conv.kernel_h, conv.stride_h, conv.dilation_h, conv.top},
          {gx.w, gy.w, conv.kernel_w, conv.stride_w, conv.dilation_w, conv.left}};
}

// A linear layer's row of image blocks has no spatial meaning: one phase, no taps.
Axes axes_of(const Conv& conv, const Packed& gx, const Packed& gy) {
  return axes_of(conv, Size{gx.height, gx.width}, Size{gy.height, gy.width});
}

struct Plan {
  std::int64_t nonzeros = 0;  // of an input channel
  std::int64_t cells = 0;     // of a tile, at most
  Gathering weight;

  [[nodiscard]] TileShape tile(Dtype dtype, const Conv& conv, std::int64_t rows, std::int64_t columns) const {
    return weight.matrices ? matrix_tile(columns) : choose_tile(dtype, conv, rows, columns, nonzeros, cells);
  }
};

Plan plan_of(const SparseWeight& weight, const Conv& conv, const Axes& axes, const Packed& gy, bool totals,
             const Context& with) {
  Plan plan;
  plan.nonzeros = per_channel(weight.nnz, conv.in());
  if (Gathering::input_grad_by_matrices(conv, weight.nnz, gy.dtype, with)) {
    plan.weight.matrices = matrices_of_input_grad(weight, conv, axes.vertical, axes.horizontal, gy, with.threads);
    return plan;
  }
  const Phase rows = phase_of(axes.vertical, 0), columns = phase_of(axes.horizontal, 0);
  plan.cells = tile_cells(conv, columns.count, plan.nonzeros, totals, gy.dtype, with);
  const std::int64_t part = gather_part(gy.dtype, conv, plan.tile(gy.dtype, conv, rows.count, columns.count), 1, 1,
                                        {conv.out_per_group(), conv.in() * conv.stride_h * conv.stride_w}, weight.nnz);
  plan.weight.list =
      as_taken(expand_input_grad(weight, conv, axes.vertical, axes.horizontal, gy, part, with.threads), gy.dtype, with);
  return plan;
}

GatherJob phase_job(const Plan& plan, const Phase& vertical, const Phase& horizontal, const Packed& gy,
                    const Packed& gx, const Conv& conv) {
  const TileShape tile = plan.tile(gy.dtype, conv, vertical.count, horizontal.count);
  GatherJob job{};
  job.dtype = gy.dtype;
  job.x = cell_at(gy, 0, vertical.origin, 0, horizontal.origin);
  job.x_block = gy.block;
  job.x_row = gy.row;
  job.x_column = 1;
  job.y = cell_at(gx, 0, vertical.first, 0, horizontal.first);
  job.y_block = gx.block;
  job.y_row = gx.row * conv.stride_h;
  job.y_column = conv.stride_w;
  job.y_channel = gx.channel;
  job.blocks = gx.blocks;
  job.rows = vertical.count;
  job.columns = horizontal.count;
  job.channels = conv.in();
  job.tile_rows = tile.rows;
  job.tile_columns = tile.columns;
  return job;
}

// What lies beside the result, as the positions of a phase see it.
Beside of_phase(const Beside& whole, const Phase& vertical, const Phase& horizontal, const Conv& conv) {
  Beside part = whole;
  if (whole.at) {
    part.at += vertical.first * whole.row + horizontal.first;
    part.row *= conv.stride_h;
  }
  return part;
}

Epilogue of_phase(Epilogue epilogue, const Phase& vertical, const Phase& horizontal, const Conv& conv) {
  epilogue.residual = of_phase(epilogue.residual, vertical, horizontal, conv);
  epilogue.mask = of_phase(epilogue.mask, vertical, horizontal, conv);
  epilogue.companion = of_phase(epilogue.companion, vertical, horizontal, conv);
  return epilogue;
}

std::vector<GatherJob> phase_jobs(const Plan& plan, const Epilogue& epilogue, const Packed& gy, const Packed& gx,
                                  const Conv& conv, const Axes& axes) {
  std::vector<GatherJob> jobs;
  for (std::int64_t i = 0; i < conv.stride_h; ++i) {
    for (std::int64_t j = 0; j < conv.stride_w; ++j) {
      const Phase vertical = phase_of(axes.vertical, i), horizontal = phase_of(axes.horizontal, j);
      GatherJob job = phase_job(plan, vertical, horizontal, gy, gx, conv);
      plan.weight.attach(job, i * conv.stride_w + j);
      job.epilogue = of_phase(epilogue, vertical, horizontal, conv);
      job.stream = exceeds_caches(gx);
      if (exceeds_caches(gy)) {
        const std::int64_t rows = (conv.kernel_h - 1) * conv.dilation_h / conv.stride_h + 1;
        const std::int64_t columns = (conv.kernel_w - 1) * conv.dilation_w / conv.stride_w + 1;
        job.window = {.rows = rows,
                      .columns = columns,
                      .top = 1 - rows,
                      .left = 1 - columns,
                      .row_step = 1,
                      .row = gy.row,
                      .channel = gy.channel,
                      .channels = gy.channels};
      }
      jobs.push_back(job);
    }
  }
  return jobs;
}

void gather(const Plan& plan, const Epilogue& epilogue, const Packed& gy, const Packed& gx, const Conv& conv,
            const Axes& axes, double* totals, const Context& with) {
  std::vector<GatherJob> jobs = phase_jobs(plan, epilogue, gy, gx, conv, axes);
  std::int64_t tiles = 0;
  for (const GatherJob& job : jobs) {
    tiles += tiles_of(job);
  }
  const Totals sums(totals, tiles, conv.in());
  float* place = sums.sums();
  for (GatherJob& job : jobs) {
    job.epilogue.sums = place;
    run_gather(job, with);
    place = place ? place + tiles_of(job) * job.channels * 2 : nullptr;
  }
  sums.finish(with.threads);
}

}  // namespace

Halo grad_halo(const Conv& conv, Size gx, Size gy) {
  const Axes axes = axes_of(conv, gx, gy);
  const Reach vertical = reach_of(axes.vertical);
  const Reach horizontal = reach_of(axes.horizontal);
  return {vertical.before, vertical.after, horizontal.before, horizontal.after};
}

void conv2d_input_grad(const Tensor& gy, const SparseWeight& weight, const Tensor& gx, const Conv& conv,
                       const Context& with) {
  const Lanes lanes(conv, gy, gx);
  const std::int64_t blocks = lanes.blocks(gx);
  if (blocks * gx.c * gx.h * gx.w == 0) {
    return;
  }
  const Halo halo = grad_halo(conv, {gx.h, gx.w}, {gy.h, gy.w});
  const std::int64_t step = lanes.step(gy, halo, gx, {});
  const Activations packed_gx = lanes.activations(gx, step, {}), packed_gy = lanes.activations(gy, step, halo);
  const Axes axes_of_all = axes_of(conv, packed_gx.view, packed_gy.view);
  const Plan plan = plan_of(weight, conv, axes_of_all, packed_gy.view, false, with);
  for (std::int64_t first = 0; first < blocks; first += step) {
    const std::int64_t count = std::min(step, blocks - first);
    const Packed kernel_gx = packed_gx.for_kernels(count);
    const Packed kernel_gy = packed_gy.for_kernels(count);
    lanes.pack(gy, first, count, packed_gy, with);
    gather(plan, {}, kernel_gy, kernel_gx, conv, axes_of(conv, kernel_gx, kernel_gy), nullptr, with);
    lanes.unpack(packed_gx, first, count, gx, with);
  }
}

void conv2d_input_grad_packed(const Packed& gy, const SparseWeight& weight, const Epilogue& epilogue, const Packed& gx,
                              const Conv& conv, double* totals, const Context& with) {
  const Axes axes = axes_of(conv, gx, gy);
  gather(plan_of(weight, conv, axes, gy, totals != nullptr, with), epilogue, gy, gx, conv, axes, totals, with);
}

}  // namespace mezzotint
