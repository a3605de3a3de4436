// How do threads go through a list of steps together? Each step's tasks are drawn one after the other; nobody begins a
// step before all tasks of the one before are done. Any number of threads may take part, and join at any time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mezzotint {

class Walk {
 public:
  explicit Walk(std::int64_t steps) : gates_(std::make_unique<Gate[]>(static_cast<std::size_t>(steps))) {}

  // Takes part from step `first` of those given to the constructor: tasks(step) tasks each, done by work(step, task).
  // Neither may throw.
  template <class Tasks, class Work>
  void join(std::int64_t steps, const Tasks& tasks, const Work& work) {
    for (std::int64_t step = 0; step < steps; ++step) {
      Gate& gate = gates_[static_cast<std::size_t>(step)];
      const std::int64_t count = tasks(step);
      for (std::int64_t task; (task = gate.next.fetch_add(1, std::memory_order_relaxed)) < count;) {
        work(step, task);
        gate.done.fetch_add(1, std::memory_order_release);
      }
      wait(gate, count);
    }
  }

 private:
  struct alignas(64) Gate {
    std::atomic<std::int64_t> next{0}, done{0};
  };

  // Steps take microseconds, so sleeping does not pay; but a core that others want is given to them.
  static void wait(const Gate& gate, std::int64_t count) {
    constexpr int kPatience = 4096;
    for (int turn = 0; gate.done.load(std::memory_order_acquire) < count; ++turn) {
      if (turn < kPatience) {
#if defined(__x86_64__)
        _mm_pause();
#endif
      } else {
        std::this_thread::yield();
      }
    }
  }

  std::unique_ptr<Gate[]> gates_;
};

}  // namespace mezzotint
