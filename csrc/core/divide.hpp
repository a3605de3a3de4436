// How is a whole cut? Into pieces of one size, the last of them smaller, or into equal shares.
#pragma once

#include <cstdint>

namespace mezzotint {

inline std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// [first, last) of share `share` of `shares` of a range.
struct Range {
  std::int64_t first, last;
};
inline Range share_of(std::int64_t count, std::int64_t share, std::int64_t shares) {
  return {share * count / shares, (share + 1) * count / shares};
}

}  // namespace mezzotint
