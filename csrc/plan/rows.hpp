// Where do the nonzeros of a weight's row begin, and where do they lie in it? Whatever is out of order is refused.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "plan/read_value.hpp"

namespace mezzotint {

// [out + 1]. The indices are ascending, so the start of each row is found by bisection.
inline std::vector<std::int32_t> starts_of_rows(const SparseWeight& weight, const Conv& conv) {
  std::vector<std::int32_t> starts;
  starts.reserve(static_cast<std::size_t>(conv.out + 1));
  const std::int32_t* at = weight.indices;
  for (std::int64_t channel = 0; channel < conv.out; ++channel) {
    at = std::lower_bound(at, weight.indices + weight.nnz, channel * conv.row());
    starts.push_back(static_cast<std::int32_t>(at - weight.indices));
  }
  starts.push_back(static_cast<std::int32_t>(weight.nnz));
  if (starts.front() != 0) {
    refuse_indices();  // a negative one; all others are found by a walk over the rows, which covers every nonzero
  }
  return starts;
}

// Of nonzero k, which starts_of_rows puts into row `out`.
inline std::int64_t position_in_row(const SparseWeight& weight, const Conv& conv, std::int64_t out, std::int64_t k) {
  const std::int64_t position = weight.indices[k] - out * conv.row();
  if (position < 0 || position >= conv.row()) {
    refuse_indices();
  }
  return position;
}

}  // namespace mezzotint
