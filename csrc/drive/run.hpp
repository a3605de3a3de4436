// How is a filled-in job spread over the threads?
#pragma once

#include "drive/context.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {

// The tiles of a gather: its epilogue leaves so many sums a channel.
std::int64_t tiles_of(const GatherJob& job);

// Runs all tiles and channels; chooses the share of a thread.
void run_gather(GatherJob job, const Context& with);

// Runs all nonzeros.
void run_weight_grad(const WeightGradJob& job, std::int64_t nnz, const Context& with);

}  // namespace mezzotint
