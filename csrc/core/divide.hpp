// How many pieces make a whole, the last of them smaller?
#pragma once

#include <cstdint>

namespace mezzotint {

inline std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace mezzotint
