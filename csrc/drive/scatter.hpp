// How does a kernel that knows no zeros get a sparse weight? Its nonzeros are written among zeros.
#pragma once

#include "core/tensor.hpp"

namespace mezzotint {

// dense[0, count) of type `dtype`: the weight's values, rounded to weight.working, at their positions, zeros elsewhere.
void scatter(const SparseWeight& weight, void* dense, Dtype dtype, std::int64_t count, int threads);

}  // namespace mezzotint
