// How do two nonzeros share a dot product? Their weights share a word.
#include "core/dtype.hpp"
#include "plan/expand.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {

void join_weights(const GatherList& list, int threads) {
  const auto segments = static_cast<std::int64_t>(list.segments.size()) - 1;
  const int team = useful_threads(list.segments.back(), threads);
  parallel_for(segments, team, [&](std::int64_t i) {
    const std::int32_t begin = list.segments[static_cast<std::size_t>(i)];
    const std::int32_t end = list.segments[static_cast<std::size_t>(i + 1)];
    for (std::int32_t at = begin; at < end; at += 2) {
      const std::uint32_t low = bits_of(list.entries[at].weight) >> 16;
      const std::uint32_t high = at + 1 < end ? bits_of(list.entries[at + 1].weight) & 0xffff0000u : 0;
      list.entries[at].weight = float_of(low | high);
    }
  });
}

}  // namespace mezzotint
