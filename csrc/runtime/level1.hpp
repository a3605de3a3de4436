// How many bytes does a core's level-1 cache hold?
#pragma once

#include <cstdint>

namespace mezzotint {

// As the system tells it once; 32 KiB, the least that the supported CPUs have, where it does not.
std::int64_t level1_bytes();

}  // namespace mezzotint
