#include "drive/run.hpp"

#include <algorithm>

#include "core/divide.hpp"
#include "plan/matrices.hpp"
#include "plan/tiles.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

// Tasks a thread should find, so that the last one to finish does not keep the others waiting for long.
constexpr std::int64_t kTasksPerThread = 4;
// Shares of the nonzeros a thread should find; every share walks through all images.
constexpr std::int64_t kSharesPerThread = 2;
// What an output channel costs beside its nonzeros: filling and storing the tile, in nonzeros.
constexpr std::int64_t kChannelCost = 2;
// Rows that share the joined rows of a window, and the pieces of so many rows that each thread should find at least.
constexpr std::int64_t kRowsOfPiece = 8, kPiecesPerThread = 2;
// What a matrix unit takes for a cell, 32 outputs and 32 columns, in nonzeros.
constexpr std::int64_t kMatrixProductCost = 32;

bool takes_pairs(Dtype dtype, const Context& with) {
  return with.kernels.entries_at_once(dtype) == 2;
}

std::int64_t cost_before(const GatherJob& job, std::int64_t channel) {
  return job.segments[channel * job.parts] - job.segments[0] + channel * kChannelCost;
}

// The first channel of share `share` of `shares` of about equal cost.
std::int64_t first_channel(const GatherJob& job, std::int64_t share, std::int64_t shares) {
  const std::int64_t wanted = cost_before(job, job.channels) * share / shares;
  std::int64_t low = 0;
  std::int64_t high = job.channels;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (cost_before(job, middle) < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return share == shares ? job.channels : low;
}

// How a gather is cut into shares of its channels, and what they cost.
class Shares {
 public:
  explicit Shares(const GatherJob& job) : job_(job), blocks_(divide_up(job.channels, kMatrixOuts)) {}
  // Of all channels of one position, in nonzeros.
  [[nodiscard]] std::int64_t cost() const {
    const std::int64_t products = blocks_ * std::max<std::int64_t>(1, job_.matrix.column_blocks);
    return job_.matrix.tiles ? products * kMatrixProductCost : cost_before(job_, job_.channels);
  }
  [[nodiscard]] std::int64_t most() const { return job_.matrix.tiles ? blocks_ : job_.channels; }
  [[nodiscard]] std::int64_t first(std::int64_t share, std::int64_t shares) const {
    return job_.matrix.tiles ? std::min(job_.channels, blocks_ * share / shares * kMatrixOuts)
                             : first_channel(job_, share, shares);
  }

 private:
  const GatherJob& job_;
  std::int64_t blocks_;
};

// Tiles that one thread should do together: some rows of an image where each piece begins by joining a window's.
std::int64_t tiles_of_piece(const GatherJob& job, int team) {
  if (job.matrix.window.rows <= 1) {
    return 1;
  }
  const std::int64_t rows = std::min(kRowsOfPiece, divide_up(job.blocks * job.rows, kPiecesPerThread * team));
  return rows * divide_up(job.columns, job.tile_columns);
}

std::int64_t kept_cells(const GatherJob& job, std::int64_t channels, const Context& with) {
  if (job.matrix.tiles) {
    return kMatrixSumCells +
           (job.matrix.window.rows > 0
                ? places_cells(job.matrix.column_blocks) + joined_cells(job.matrix.window, job.columns, job.x_column)
                : kMatrixInputCells);
  }
  // FP32 sums take twice the room of a cell in a 16-bit type.
  const std::int64_t floats = channels * with.kernels.tile_cells(job.dtype) * lanes_of(job.dtype);
  return job.parts > 1 ? floats * static_cast<std::int64_t>(sizeof(float)) / kCellBytes : 0;
}

}  // namespace

GatherScratch::GatherScratch(const GatherJob& job, std::int64_t channels, const Context& with)
    : cells_(kept_cells(job, channels, with)) {}

void GatherScratch::run(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                        std::int64_t last, const Context& with) const {
  const auto gather = job.matrix.tiles ? with.kernels.matrices->gather : with.kernels.gather;
  gather(job, first_tile, last_tile, first, last, cells_.get());
}

GatherList as_taken(GatherList list, Dtype dtype, const Context& with) {
  if (takes_pairs(dtype, with)) {
    join_weights(list, with.threads);
  }
  return list;
}

std::int64_t tile_cells(const Conv& conv, std::int64_t columns, std::int64_t nonzeros, bool totals, Dtype dtype,
                        const Context& with) {
  const std::int64_t most = with.kernels.tile_cells(dtype);
  return takes_pairs(dtype, with) ? cells_for_level1(conv, columns, nonzeros, totals, most) : most;
}

std::int64_t tiles_of(const GatherJob& job) {
  return job.blocks * divide_up(job.rows, job.tile_rows) * divide_up(job.columns, job.tile_columns);
}

void run_gather(GatherJob job, const Context& with) {
  const std::int64_t pixels = job.blocks * job.rows * job.columns;
  if (pixels == 0 || job.channels == 0) {
    return;
  }
  const Shares of(job);
  const auto gather = [&](std::int64_t first_tile, std::int64_t last_tile, std::int64_t first, std::int64_t last) {
    GatherScratch(job, last - first, with).run(job, first_tile, last_tile, first, last, with);
  };
  const std::int64_t tiles = tiles_of(job);
  const int team = useful_threads(of.cost() * pixels, with.threads);
  if (team == 1 || tiles >= kTasksPerThread * team) {
    const std::int64_t piece = tiles_of_piece(job, team);
    parallel_ranges(divide_up(tiles, piece), team, [&](std::int64_t begin, std::int64_t end) {
      gather(begin * piece, std::min(tiles, end * piece), 0, job.channels);
    });
    return;
  }
  const std::int64_t shares = std::min(of.most(), divide_up(kTasksPerThread * team, tiles));
  parallel_for(tiles * shares, team, [&](std::int64_t task) {
    const std::int64_t tile = task / shares;
    const std::int64_t share = task % shares;
    gather(tile, tile + 1, of.first(share, shares), of.first(share + 1, shares));
  });
}

void run_weight_grad(const WeightGradJob& job, std::int64_t nnz, std::int64_t chunks, float* sums,
                     const Context& with) {
  const std::int64_t bands = job.blocks * divide_up(job.rows, job.band_rows) * divide_up(job.columns, job.band_columns);
  const int team = useful_threads(nnz * job.blocks * job.rows * job.columns, with.threads);
  const std::int64_t wanted = team == 1 ? 1 : divide_up(kSharesPerThread * team, chunks);
  const std::int64_t shares = std::min(nnz, wanted);
  const auto weight_grad = with.kernels.weight_grad;
  parallel_for(chunks * shares, team, [&](std::int64_t task) {
    const std::int64_t chunk = task / shares, share = task % shares;
    weight_grad(job, bands * chunk / chunks, bands * (chunk + 1) / chunks, nnz * share / shares,
                nnz * (share + 1) / shares, sums + chunk * nnz);
  });
}

}  // namespace mezzotint
