// How does a pointwise convolution go back through its batch norm in one pass over memory? Strip by strip: the gradient
// of a few pixels is normalised into scratch, where both of the convolution's gradients find it in the level-2 cache.
#include <algorithm>
#include <optional>

#include "core/divide.hpp"
#include "drive/conv2d.hpp"
#include "drive/gathering.hpp"
#include "drive/matrix_grad.hpp"
#include "drive/run.hpp"
#include "drive/sums.hpp"
#include "drive/totals.hpp"
#include "plan/expand.hpp"
#include "plan/rows.hpp"
#include "plan/tiles.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

// Some pixels of a row of one image block.
struct Strip {
  std::int64_t block = 0, row = 0, column = 0, columns = 0;
};

// The rows of all blocks, each cut evenly into strips.
class Strips {
 public:
  Strips(const Packed& gy, std::int64_t columns)
      : height_(gy.height), width_(gy.width), across_(divide_up(gy.width, columns)), blocks_(gy.blocks) {}

  [[nodiscard]] std::int64_t count() const { return blocks_ * height_ * across_; }
  [[nodiscard]] std::int64_t widest() const { return divide_up(width_, across_); }
  [[nodiscard]] Strip at(std::int64_t number) const {
    const std::int64_t of_row = number % across_, column = of_row * width_ / across_;
    return {number / across_ / height_, number / across_ % height_, column, (of_row + 1) * width_ / across_ - column};
  }

 private:
  std::int64_t height_, width_, across_, blocks_;
};

void shift(Packed& view, std::int64_t column, std::int64_t columns) {
  if (view.data) {
    view.data += column;
    view.width = columns;
  }
}

// The output gradient of a strip, in scratch.
void normalise(NormaliseJob job, const Packed& scratch, const Strip& strip, const Context& with) {
  shift(job.x, strip.column, strip.columns);
  shift(job.other, strip.column, strip.columns);
  job.z = scratch;
  job.z.height = job.x.height;
  job.z.width = strip.columns;
  job.z.block = job.z.row = 0;  // all strips, wherever they lie, in the one place
  with.kernels.normalise_row(job, strip.block, strip.row);
}

Beside at_strip(Beside beside, const Strip& strip) {
  if (beside.at) {
    beside.at += strip.block * beside.block + strip.row * beside.row + strip.column;
  }
  return beside;
}

Epilogue at_strip(Epilogue epilogue, const Strip& strip) {
  epilogue.residual = at_strip(epilogue.residual, strip);
  epilogue.mask = at_strip(epilogue.mask, strip);
  epilogue.companion = at_strip(epilogue.companion, strip);
  return epilogue;
}

// What normalising a strip will read of an operand.
Ahead ahead_of(const Packed& operand, const Strip& strip) {
  return {cell_at(operand, strip.block, strip.row, 0, strip.column), operand.channels, operand.channel, strip.columns};
}

struct Plan {
  TileShape tile;
  Gathering weight;
};

Plan plan_of(const SparseWeight& weight, const Conv& conv, const Packed& layout, bool totals, const Context& with) {
  const Axis axis{layout.width, layout.width, 1, 1, 1, 0};
  if (Gathering::input_grad_by_matrices(conv, weight.nnz, layout.dtype, with)) {
    return {matrix_tile(layout.width), {{}, matrices_of_input_grad(weight, conv, axis, axis, layout, with.threads)}};
  }
  const std::int64_t nonzeros = per_channel(weight.nnz, conv.in());
  const std::int64_t cells = tile_cells(conv, layout.width, nonzeros, totals, layout.dtype, with);
  const TileShape tile = choose_tile(layout.dtype, conv, 1, layout.width, nonzeros, cells);
  const std::int64_t part = gather_part(layout.dtype, conv, tile, 1, 1, {conv.out_per_group(), conv.in()}, weight.nnz);
  const auto list = [&] { return expand_input_grad(weight, conv, axis, axis, layout, part, with.threads); };
  return {tile, {as_taken(list(), layout.dtype, with), std::nullopt}};
}

GatherJob gather_job(const Plan& plan, const Packed& scratch, const Packed& gx, const Conv& conv) {
  GatherJob job{};
  job.dtype = gx.dtype;
  job.x = scratch.data;
  job.x_row = scratch.row;
  job.x_column = job.y_column = 1;
  job.y_row = gx.row;
  job.y_channel = gx.channel;
  job.blocks = job.rows = 1;
  job.channels = conv.in();
  job.tile_rows = plan.tile.rows;
  job.tile_columns = plan.tile.columns;
  plan.weight.attach(job);
  job.stream = exceeds_caches(gx);
  return job;
}

// The gradients of the values: what is the same for all strips.
struct Sampling {
  Band band;
  SampleList list;
  std::optional<MatrixGrad> whole;  // instead
  std::vector<std::int32_t> starts;

  Sampling(const SparseWeight& weight, const Conv& conv, const Packed& x, const Packed& layout, const Context& with)
      : band(choose_band(conv, 1, layout.width, weight.nnz)) {
    if (MatrixGrad::at_once(conv) && MatrixGrad::pays(conv, weight.nnz, x.dtype, with)) {
      whole.emplace(x, layout, conv, 1);
      starts = starts_of_rows(weight, conv);
    } else {
      list = expand_weight_grad(weight, conv, x, band.part_channels, with.threads);
    }
  }
};

WeightGradJob sample_job(const Sampling& sampling, const Packed& scratch, const Packed& x, const Conv& conv) {
  WeightGradJob job{};
  job.dtype = x.dtype;
  job.x_row = x.row;
  job.x_column = 1;
  job.gy = scratch.data;
  job.gy_row = scratch.row;
  job.gy_channel = scratch.channel;
  job.blocks = job.rows = 1;
  job.channels = conv.out;
  job.band_rows = 1;
  job.band_columns = scratch.width;
  job.offsets = sampling.list.offsets.get();
  job.segments = sampling.list.segments.data();
  job.parts = sampling.list.parts;
  job.part_channels = sampling.band.part_channels;
  job.x_channel = x.channel;
  return job;
}

// The gradients of the values over a chunk of the strips, whose output gradients lie in `scratch` one after the other.
class Samples {
 public:
  Samples(const Sampling& sampling, const Packed& scratch, const Packed& x, const Conv& conv)
      : sampling_(sampling), x_(x), one_by_one_(sample_job(sampling, scratch, x, conv)) {
    if (sampling.whole) {
      whole_ = sampling.whole->job();
      whole_.gy = scratch.data;
      whole_.blocks = whole_.rows = 1;
      sums_ = Scratch<float>(sampling.whole->sums());
      turned_ = Scratch<Cell>(sampling.whole->scratch_cells());
    }
  }

  void add(const Strip& strip, const Ahead& ahead, std::int64_t nnz, float* values, const Context& with) {
    const Cell* const at = cell_at(x_, strip.block, strip.row, 0, strip.column);
    if (sampling_.whole) {
      whole_.x = at;
      whole_.columns = strip.columns;
      const std::int64_t tiles = divide_up(strip.columns, whole_.tile_columns);
      with.kernels.matrices->weight_grad(whole_, 0, tiles, fresh_, turned_.get(), sums_.get());
      fresh_ = false;
    } else {
      one_by_one_.x = at;
      one_by_one_.columns = strip.columns;
      one_by_one_.ahead = ahead;
      with.kernels.weight_grad(one_by_one_, 0, 1, 0, nnz, values);
    }
  }

  void finish(const SparseWeight& weight, const Conv& conv, float* values) const {
    if (sampling_.whole && !fresh_) {
      MatrixGrad::Sums(*sampling_.whole, sums_.get(), conv.out)
          .add(weight, conv, sampling_.starts, 0, conv.out, values);
    }
  }

 private:
  const Sampling& sampling_;
  Packed x_;
  WeightGradJob one_by_one_;
  MatrixGradJob whole_{};
  Scratch<float> sums_;
  Scratch<Cell> turned_;
  bool fresh_ = true;
};

}  // namespace

void conv2d_backward_packed(const NormaliseJob& gy, const Packed& x, const SparseWeight& weight,
                            const Epilogue& epilogue, const Packed& gx, const Vector& gvalues, const Conv& conv,
                            double* totals, const Context& with) {
  const Strips strips(gy.x, strip_columns(conv.out));
  const Packed layout = native_layout(gx.dtype, 1, conv.out, 1, strips.widest(), {});
  const Plan plan = plan_of(weight, conv, layout, totals != nullptr, with);
  const Sampling sampling(weight, conv, x, layout, with);
  const std::int64_t chunks = chunks_of(strips.count(), weight.nnz);
  const std::int64_t tiles = divide_up(layout.width, plan.tile.columns);  // of a strip, at most
  const SumsOf sums(gvalues, chunks, with.threads);
  const Totals places(totals, strips.count() * tiles, conv.in());
  const int team = useful_threads(weight.nnz * gx.blocks * gx.height * gx.width, with.threads);
  parallel_for(chunks, team, [&](std::int64_t chunk) {
    const Scratch<Cell> memory(cells_of(layout));
    Packed scratch = layout;
    scratch.data = memory.get();
    GatherJob gather = gather_job(plan, scratch, gx, conv);
    const GatherScratch kept(gather, conv.in(), with);
    Samples samples(sampling, scratch, x, conv);
    const std::int64_t last = strips.count() * (chunk + 1) / chunks;
    for (std::int64_t number = strips.count() * chunk / chunks; number < last; ++number) {
      const Strip strip = strips.at(number), next = number + 1 < last ? strips.at(number + 1) : Strip{};
      normalise(gy, scratch, strip, with);
      gather.columns = strip.columns;
      gather.ahead = next.columns > 0 ? ahead_of(gy.x, next) : Ahead{};
      gather.y = cell_at(gx, strip.block, strip.row, 0, strip.column);
      gather.epilogue = at_strip(epilogue, strip);
      gather.epilogue.sums = totals ? places.sums() + number * tiles * conv.in() * 2 : nullptr;
      kept.run(gather, 0, tiles_of(gather), 0, conv.in(), with);
      samples.add(strip, next.columns > 0 ? ahead_of(gy.other, next) : Ahead{}, weight.nnz, sums.chunk(chunk), with);
    }
    samples.finish(weight, conv, sums.chunk(chunk));
  });
  places.finish(with.threads);
  sums.finish(with.threads);
}

}  // namespace mezzotint
