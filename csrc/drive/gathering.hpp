// How does a gather walk over a weight? Nonzero after nonzero, or over all of it where a matrix unit is faster.
#pragma once

#include <optional>

#include "drive/context.hpp"
#include "plan/expand.hpp"
#include "plan/matrices.hpp"

namespace mezzotint {

struct Gathering {
  GatherList list;
  std::optional<Matrices> matrices;

  // Whether a matrix unit takes the `nnz` nonzeros of a weight to compute an output, or the gradient of an input.
  static bool output_by_matrices(const Conv& conv, std::int64_t nnz, Dtype dtype, const Context& with) {
    return has_matrices(conv, dtype, with) && matrix_pays(conv.out, conv.row(), nnz);
  }
  static bool input_grad_by_matrices(const Conv& conv, std::int64_t nnz, Dtype dtype, const Context& with) {
    const std::int64_t joins = conv.taps() > 1 ? conv.stride_h * conv.stride_w : 1;
    return has_matrices(conv, dtype, with) && matrix_pays(conv.in(), conv.out * conv.taps(), nnz, joins);
  }
  static bool has_matrices(const Conv& conv, Dtype dtype, const Context& with) {
    return with.kernels.matrices && dtype == Dtype::kBFloat16 && conv.groups == 1;
  }

  // Hands a phase of the weight to a job whose channels are known.
  void attach(GatherJob& job, std::int64_t phase = 0) const {
    if (matrices) {
      job.matrix = matrices->of_phase(phase);
    } else {
      job.entries = list.entries.get();
      job.segments = list.segments.data() + phase * job.channels * list.parts;
      job.parts = list.parts;
    }
  }
};

}  // namespace mezzotint
