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

  // Whether a matrix unit takes the weight, whose `nnz` nonzeros are sums of `outs` channels over `columns` inputs.
  static bool by_matrices(const Conv& conv, std::int64_t outs, std::int64_t columns, std::int64_t nnz, Dtype dtype,
                          const Context& with) {
    return with.kernels.matrices && dtype == Dtype::kBFloat16 && conv.groups == 1 && matrix_pays(outs, columns, nnz);
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
