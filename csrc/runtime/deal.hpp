// Who does what of a loop? Its range is dealt out in order, a share to each thread, so that a thread meets the same
// images in every loop and finds in its own caches what it wrote there. Who is done helps the others from their shares'
// ends.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "core/divide.hpp"
#include "runtime/turns.hpp"

namespace mezzotint {

class Deal {
 public:
  Deal(std::int64_t count, int threads)
      : count_(count), unit_(divide_up(count, kMostTurns)), hands_(std::clamp(threads, 1, kMostHands)) {
    const std::int64_t turns = divide_up(count, unit_);
    least_ = std::max<std::int64_t>(1, turns / (hands_ * kChunksAtMost));
    for (int hand = 0; hand < hands_; ++hand) {
      left_[hand].turns.store(packed(share_of(turns, hand, hands_)), std::memory_order_relaxed);
    }
  }

  // Calls work(chunk) until nothing is left. Any number of threads may, at any time; `number` tells them apart.
  template <class Work>
  void draw(int number, const Work& work) {
    for (int next = 0; next < hands_; ++next) {
      Hand& hand = left_[(number + next) % hands_];
      for (Range turns; !is_empty(turns = take(hand, next == 0));) {
        work(Range{turns.first * unit_, std::min(count_, turns.last * unit_)});
      }
    }
  }

  // Leaves nothing.
  void drop() {
    for (int hand = 0; hand < hands_; ++hand) {
      left_[hand].turns.store(0, std::memory_order_relaxed);
    }
  }

 private:
  static constexpr int kMostHands = 64;  // more threads share them
  // What is left of a share is enough for so many chunks: they are large at first, where neighbours share what they
  // read, and small at the end, so that nobody waits long for the last one.
  static constexpr std::int64_t kChunksOfRest = 2;
  // No chunk is smaller than all of the range cut into so many a thread.
  static constexpr std::int64_t kChunksAtMost = 32;

  // A line of its own: threads that have enough to do share nothing.
  struct alignas(64) Hand {
    std::atomic<std::uint64_t> turns;
  };

  [[nodiscard]] Range take(Hand& hand, bool at_front) const {
    std::uint64_t found = hand.turns.load(std::memory_order_relaxed);
    while (true) {
      const Range left = unpacked(found);
      if (is_empty(left)) {
        return left;
      }
      const auto [first, last] = left;
      const std::int64_t size = std::min(last - first, std::max(least_, (last - first) / kChunksOfRest));
      const Range taken = at_front ? Range{first, first + size} : Range{last - size, last};
      const std::uint64_t rest = packed(at_front ? Range{taken.last, last} : Range{first, taken.first});
      if (hand.turns.compare_exchange_weak(found, rest, std::memory_order_relaxed)) {
        return taken;
      }
    }
  }

  std::int64_t count_, unit_;
  int hands_;
  std::int64_t least_ = 1;
  std::array<Hand, kMostHands> left_;
};

}  // namespace mezzotint
