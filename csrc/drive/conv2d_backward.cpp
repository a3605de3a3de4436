// How does a pointwise convolution go back through its batch norm in one pass over memory? Strip by strip: the gradient
// of a few pixels is normalised into scratch, where both of the convolution's gradients find it in the level-2 cache.
#include <algorithm>

#include "core/divide.hpp"
#include "drive/conv2d.hpp"
#include "drive/run.hpp"
#include "drive/sums.hpp"
#include "drive/totals.hpp"
#include "plan/expand.hpp"
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

GatherJob gather_job(const GatherList& list, const Packed& scratch, const Packed& gx, const Conv& conv,
                     const TileShape& tile) {
  GatherJob job{};
  job.dtype = gx.dtype;
  job.x = scratch.data;
  job.x_row = scratch.row;
  job.x_column = job.y_column = 1;
  job.y_row = gx.row;
  job.y_channel = gx.channel;
  job.blocks = job.rows = 1;
  job.channels = conv.in();
  job.tile_rows = tile.rows;
  job.tile_columns = tile.columns;
  job.entries = list.entries.get();
  job.segments = list.segments.data();
  job.parts = list.parts;
  job.stream = exceeds_caches(gx);
  return job;
}

WeightGradJob sample_job(const SampleList& list, const Packed& scratch, const Packed& x, const Conv& conv,
                         const Band& band) {
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
  job.offsets = list.offsets.get();
  job.segments = list.segments.data();
  job.parts = list.parts;
  job.part_channels = band.part_channels;
  job.x_channel = x.channel;
  return job;
}

}  // namespace

void conv2d_backward_packed(const NormaliseJob& gy, const Packed& x, const SparseWeight& weight,
                            const Epilogue& epilogue, const Packed& gx, const Vector& gvalues, const Conv& conv,
                            double* totals, const Context& with) {
  const Strips strips(gy.x, strip_columns(conv.out));
  const Packed layout = native_layout(gx.dtype, 1, conv.out, 1, strips.widest(), {});
  const TileShape tile = choose_tile(
      1, layout.width, tile_cells(conv, layout.width, conv.in(), weight.nnz, totals != nullptr, gx.dtype, with));
  const Axis axis{layout.width, layout.width, 1, 1, 1, 0};
  const std::int64_t part = gather_part(gx.dtype, conv, tile, 1, 1, {conv.out_per_group(), conv.in()}, weight.nnz);
  const GatherList gathered =
      as_taken(expand_input_grad(weight, conv, axis, axis, layout, part, with.threads), gx.dtype, with);
  const Band band = choose_band(conv, 1, layout.width, weight.nnz);
  const SampleList sampled = expand_weight_grad(weight, conv, x, band.part_channels, with.threads);
  const std::int64_t chunks = chunks_of(strips.count(), weight.nnz);
  const std::int64_t tiles = divide_up(layout.width, tile.columns);  // of a strip, at most
  const SumsOf sums(gvalues, chunks, with.threads);
  const Totals places(totals, strips.count() * tiles, conv.in());
  const int team = useful_threads(weight.nnz * gx.blocks * gx.height * gx.width, with.threads);
  parallel_for(chunks, team, [&](std::int64_t chunk) {
    const Scratch<Cell> memory(cells_of(layout));
    Packed scratch = layout;
    scratch.data = memory.get();
    GatherJob gather = gather_job(gathered, scratch, gx, conv, tile);
    const Scratch<float> kept(kept_floats(gather, conv.in(), with));
    WeightGradJob sample = sample_job(sampled, scratch, x, conv, band);
    const std::int64_t last = strips.count() * (chunk + 1) / chunks;
    for (std::int64_t number = strips.count() * chunk / chunks; number < last; ++number) {
      const Strip strip = strips.at(number), next = number + 1 < last ? strips.at(number + 1) : Strip{};
      normalise(gy, scratch, strip, with);
      gather.columns = sample.columns = strip.columns;
      gather.ahead = next.columns > 0 ? ahead_of(gy.x, next) : Ahead{};
      gather.y = cell_at(gx, strip.block, strip.row, 0, strip.column);
      gather.epilogue = at_strip(epilogue, strip);
      gather.epilogue.sums = totals ? places.sums() + number * tiles * conv.in() * 2 : nullptr;
      with.kernels.gather(gather, 0, tiles_of(gather), 0, conv.in(), kept.get());
      sample.ahead = next.columns > 0 ? ahead_of(gy.other, next) : Ahead{};
      sample.x = cell_at(x, strip.block, strip.row, 0, strip.column);
      with.kernels.weight_grad(sample, 0, 1, 0, weight.nnz, sums.chunk(chunk));
    }
  });
  places.finish(with.threads);
  sums.finish(with.threads);
}

}  // namespace mezzotint
