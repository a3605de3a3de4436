#include "runtime/handover.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>

namespace mezzotint {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBatches = 40, kTimes = 256;
constexpr std::chrono::milliseconds kMost{30};  // a busy machine takes a time slice for each
constexpr int kStop = -1;

// Returns what it finds: `wanted`, or kStop.
int wait_for(const std::atomic<int>& number, int wanted) {
  constexpr int kPatience = 1 << 14;
  for (int turn = 0;; ++turn) {
    const int found = number.load(std::memory_order_acquire);
    if (found == wanted || found == kStop) {
      return found;
    }
    if (turn > kPatience) {
      std::this_thread::yield();
    }
  }
}

}  // namespace

double handover_nanoseconds() {
  alignas(64) std::atomic<int> number{0};
  std::jthread other([&number] {
    for (int i = 1; wait_for(number, i) != kStop; i += 2) {
      number.store(i + 1, std::memory_order_release);
    }
  });
  double best = std::numeric_limits<double>::infinity();
  const Clock::time_point begin = Clock::now();
  Clock::time_point before = begin;
  for (int i = 1, times = 0, batches = 0; batches < kBatches && before - begin < kMost; i += 2) {
    number.store(i, std::memory_order_release);
    wait_for(number, i + 1);
    if (++times == kTimes) {
      const Clock::time_point now = Clock::now();
      best = std::min(best, std::chrono::duration<double, std::nano>(now - before).count() / (2.0 * kTimes));
      before = now;
      times = 0;
      ++batches;
    }
  }
  number.store(kStop, std::memory_order_release);
  return best;
}

}  // namespace mezzotint
