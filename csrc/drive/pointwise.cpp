#include "drive/pointwise.hpp"

#include "drive/totals.hpp"
#include "plan/tiles.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

// A cell of a pass over memory costs about as much as this many vector operations.
constexpr std::int64_t kCellCost = 4;

int team_for(const Packed& view, int threads) {
  return useful_threads(cells_of(view) * kCellCost, threads);
}

}  // namespace

void normalise_packed(NormaliseJob job, const Context& with) {
  job.stream = exceeds_caches(job.z);
  const std::int64_t rows = stored_rows(job.z);
  parallel_for(job.z.blocks * rows, team_for(job.z, with.threads),
               [&](std::int64_t i) { with.kernels.normalise_row(job, i / rows, i % rows); });
}

void reduce_packed(ReduceJob job, double* totals, const Context& with) {
  const Totals sums(totals, job.x.blocks * job.x.height, job.x.channels);
  job.sums = sums.sums();
  parallel_for(job.x.blocks * job.x.height, team_for(job.x, with.threads),
               [&](std::int64_t i) { with.kernels.reduce_row(job, i / job.x.height, i % job.x.height); });
  sums.finish(with.threads);
}

}  // namespace mezzotint
