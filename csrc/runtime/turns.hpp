// How do threads share what is left of a range? In one word, so that it changes at once: [low half, high half).
#pragma once

#include <cstdint>

#include "core/divide.hpp"

namespace mezzotint {

constexpr std::int64_t kMostTurns = std::int64_t{1} << 31;  // whose ends fit into half of a word

inline std::uint64_t packed(Range turns) {
  return static_cast<std::uint64_t>(turns.last) << 32 | static_cast<std::uint64_t>(turns.first);
}
inline Range unpacked(std::uint64_t turns) {
  return {static_cast<std::int64_t>(turns & 0xffffffffu), static_cast<std::int64_t>(turns >> 32)};
}
inline bool is_empty(Range turns) {
  return turns.first >= turns.last;
}

}  // namespace mezzotint
