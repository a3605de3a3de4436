// What can be asked between convolutions, on activations in the native layout? Sums of scaled tensors with a ReLU, and
// the reductions of a batch norm; both directions of a batch norm are made of them.
#pragma once

#include "drive/context.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {

// z as NormaliseJob says; job.stream is set here.
void normalise_packed(NormaliseJob job, const Context& with);

// totals: [channels][2], the sums that ReduceJob describes over all rows, or null; job.sums is set here.
void reduce_packed(ReduceJob job, double* totals, const Context& with);

}  // namespace mezzotint
