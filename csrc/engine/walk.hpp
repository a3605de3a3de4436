// How do threads go through a list of steps together? Each step's tasks are dealt out in order, a range to each thread,
// so that a thread meets the same part of the images in every step and finds in its own caches what it wrote there.
// Two neighbours begin at their ranges' far ends and help each other where these meet. Nobody begins a step before all
// tasks of the one before are done. Up to so many threads as are foreseen may take part, and join at any time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/share.hpp"
#include "runtime/turns.hpp"

namespace mezzotint {

class Walk {
 public:
  // tasks(step): how many a step has, less than 2^31.
  template <class Tasks>
  Walk(std::int64_t steps, int threads, const Tasks& tasks)
      : steps_(steps),
        threads_(threads),
        counts_(std::make_unique<std::int64_t[]>(static_cast<std::size_t>(steps))),
        hands_(std::make_unique<Hand[]>(static_cast<std::size_t>(steps * threads))) {
    for (std::int64_t step = 0; step < steps; ++step) {
      const std::int64_t count = counts_[static_cast<std::size_t>(step)] = tasks(step);
      for (int thread = 0; thread < threads; ++thread) {
        const Range range = share_of(count, thread, threads);
        hand(step, thread).left.store(packed({0, range.last - range.first}), std::memory_order_relaxed);
      }
    }
  }

  // Takes part: work(step, task) for one task after the other, left(step) when there are no more of a step, over(step)
  // when all of them are done. None may throw. More threads than foreseen return at once.
  template <class Work, class Left, class Over>
  void join(const Work& work, const Left& left, const Over& over) {
    const int self = joined_.fetch_add(1, std::memory_order_relaxed);
    if (self >= threads_) {
      return;
    }
    for (std::int64_t step = 0; step < steps_; ++step) {
      std::int64_t done = 0;
      for (int next = 0; next < threads_; ++next) {
        const int owner = (self + next) % threads_;
        for (std::int64_t turn; (turn = next == 0 ? take_first(step, self) : take_last(step, owner)) >= 0;) {
          work(step, task_of(step, owner, turn));
          hand(step, self).done.store(++done, std::memory_order_release);
        }
      }
      left(step);
      wait(step);
      over(step);
    }
  }

 private:
  // The turns that a thread has left, and the tasks that it has done. A line of its own: threads
  // that have enough to do share nothing.
  struct alignas(64) Hand {
    std::atomic<std::uint64_t> left{0};
    std::atomic<std::int64_t> done{0};
  };

  // For the owner alone, who may count beyond the last one; -1: none is left.
  [[nodiscard]] std::int64_t take_first(std::int64_t step, int owner) const {
    const Range found = unpacked(hand(step, owner).left.fetch_add(1, std::memory_order_relaxed));
    return is_empty(found) ? -1 : found.first;
  }
  [[nodiscard]] std::int64_t take_last(std::int64_t step, int owner) const {
    std::atomic<std::uint64_t>& left = hand(step, owner).left;
    std::uint64_t found = left.load(std::memory_order_relaxed);
    while (!is_empty(unpacked(found))) {
      if (left.compare_exchange_weak(found, found - packed({0, 1}), std::memory_order_relaxed)) {
        return unpacked(found).last - 1;
      }
    }
    return -1;
  }

  [[nodiscard]] std::int64_t task_of(std::int64_t step, int owner, std::int64_t turn) const {
    const Range range = share_of(counts_[static_cast<std::size_t>(step)], owner, threads_);
    return owner % 2 ? range.last - 1 - turn : range.first + turn;
  }
  [[nodiscard]] Hand& hand(std::int64_t step, int thread) const {
    return hands_[static_cast<std::size_t>(step * threads_ + thread)];
  }
  [[nodiscard]] bool is_done(std::int64_t step) const {
    std::int64_t done = 0;
    for (int thread = 0; thread < threads_; ++thread) {
      done += hand(step, thread).done.load(std::memory_order_acquire);
    }
    return done == counts_[static_cast<std::size_t>(step)];
  }

  // Steps take microseconds, so sleeping does not pay; but a core that others want is given to them.
  void wait(std::int64_t step) const {
    constexpr int kPatience = 4096;
    for (int turn = 0; !is_done(step); ++turn) {
      if (turn < kPatience) {
#if defined(__x86_64__)
        _mm_pause();
#endif
      } else {
        std::this_thread::yield();
      }
    }
  }

  std::int64_t steps_;
  int threads_;
  std::unique_ptr<std::int64_t[]> counts_;
  std::unique_ptr<Hand[]> hands_;
  std::atomic<int> joined_{0};
};

}  // namespace mezzotint
