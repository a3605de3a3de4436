// Which tables of kernels are tested? Those that this CPU can run, and the shapes of the others compiled for any CPU:
// their vectors are then emulated, but it is the same source with the same widths, so its logic is tested everywhere.
#pragma once

#include <vector>

#include "isa/select.hpp"

namespace mezzotint {

extern const Kernels kEmulated512;   // the widths of avx512.cpp
extern const Kernels kEmulatedNeon;  // the widths of neon.cpp

namespace tests {

inline std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> all = runnable();
  all.push_back(&kEmulated512);
  all.push_back(&kEmulatedNeon);
  return all;
}

}  // namespace tests
}  // namespace mezzotint
