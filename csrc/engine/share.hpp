// How is a step's work cut into tasks? Into a few for each thread, so that the last one keeps nobody waiting for long.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/divide.hpp"

namespace mezzotint {

constexpr std::int64_t kTasksAThread = 6;

inline std::int64_t tasks_wanted(int threads) {
  return threads > 1 ? threads * kTasksAThread : 1;
}

// Parts of each of `items` so that there are tasks enough; at most `most`.
inline std::int64_t parts_of_each(std::int64_t items, std::int64_t most, int threads) {
  return std::clamp<std::int64_t>((tasks_wanted(threads) + items - 1) / std::max<std::int64_t>(items, 1), 1,
                                  std::max<std::int64_t>(most, 1));
}

}  // namespace mezzotint
