// How is a filled-in job spread over the threads?
#pragma once

#include "drive/context.hpp"
#include "kernels/jobs.hpp"
#include "plan/expand.hpp"
#include "plan/tiles.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// The nonzeros as the gather takes them: one by one, or joined in pairs.
GatherList as_taken(GatherList list, Dtype dtype, const Context& with);

// Cells of a gather's register tile, at most. `columns`: of the result; `nonzeros`: of one of its channels; `totals`:
// whether each tile leaves its totals.
std::int64_t tile_cells(const Conv& conv, std::int64_t columns, std::int64_t nonzeros, bool totals, Dtype dtype,
                        const Context& with);

// The tiles of a gather: its epilogue leaves so many sums a channel.
std::int64_t tiles_of(const GatherJob& job);

// What a thread needs while it runs a gather: sums that wait for their next part, or a matrix unit's inputs.
class GatherScratch {
 public:
  // For so many channels of the job.
  GatherScratch(const GatherJob& job, std::int64_t channels, const Context& with);
  // Tiles [first_tile, last_tile) for the channels [first, last).
  void run(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first, std::int64_t last,
           const Context& with) const;

 private:
  Scratch<Cell> cells_;
};

// Runs all tiles and channels; chooses the share of a thread.
void run_gather(GatherJob job, const Context& with);

// Adds to sums [chunks][nnz]: the bands of the job are cut into as many chunks, whose sums do not depend on threads.
void run_weight_grad(const WeightGradJob& job, std::int64_t nnz, std::int64_t chunks, float* sums, const Context& with);

}  // namespace mezzotint
