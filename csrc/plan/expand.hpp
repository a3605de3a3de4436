// How do indices become addresses? Expands the nonzeros of a weight into what the kernels walk along: an offset in
// cells (and the rounded weight) for each. Made anew at every call, in time proportional to nnz, because the values
// change at every step; nothing of it outlives the call.
#pragma once

#include <vector>

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "kernels/jobs.hpp"
#include "plan/phases.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// Nonzeros grouped by channel of the result and, within it, by part; see GatherJob.
struct GatherList {
  Scratch<Entry> entries;
  std::vector<std::int32_t> segments;  // [phases * channels * parts + 1]
  std::int64_t parts = 1;
};

// Offsets alone, in the order of the indices; see WeightGradJob.
struct SampleList {
  Scratch<std::int32_t> offsets;
  std::vector<std::int32_t> segments;  // [channels * parts + 1]
  std::int64_t parts = 1;
};

// For y: channels are output channels, offsets lead into the packed x. `part` input channels (of a group) a part.
GatherList expand_output(const SparseWeight& weight, const Conv& conv, const Packed& x, std::int64_t part, int threads);

// For gx: channels are input channels, offsets lead into the packed gy. `part` output channels (of a group) a part.
// The segments of phase (i, j) begin at (i * stride_w + j) * channels * parts.
GatherList expand_input_grad(const SparseWeight& weight, const Conv& conv, const Axis& vertical, const Axis& horizontal,
                             const Packed& gy, std::int64_t part, int threads);

// Joins the weights of every two entries of a segment, for a kernel that takes them so: the first of the pair gets
// both, rounded to BF16 as they are, its own in the lower half; the upper half of one that is left over is zero.
void join_weights(const GatherList& list, int threads);

// For the gradient of the values: as expand_output, without the weights.
SampleList expand_weight_grad(const SparseWeight& weight, const Conv& conv, const Packed& x, std::int64_t part,
                              int threads);

}  // namespace mezzotint
