// With which kernels and on how many threads does a call run? Decided once at its start: forcing another instruction
// set from another thread must not change the kernels in the middle of a call.
#pragma once

#include "isa/table.hpp"

namespace mezzotint {

struct Context {
  const Kernels& kernels;
  int threads;
};

}  // namespace mezzotint
