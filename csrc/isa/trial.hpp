// Which of two variants sums a sparse BF16 convolution faster on this CPU?
#pragma once

#include "isa/table.hpp"

namespace mezzotint {

// Whether `one` takes less time than `other` for a gather whose input lies in level 1 of the cache; a fraction of a
// millisecond. The answer is that of the instructions, far from a tie on the CPUs that have been measured, and both
// take turns: it does not change from process to process.
bool gathers_faster(const Kernels& one, const Kernels& other);

}  // namespace mezzotint
