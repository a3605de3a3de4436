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

// Returns what it finds: `wanted`, or kStop, also when it is too late.
int wait_for(const std::atomic<int>& number, int wanted, Clock::time_point end) {
  constexpr int kPatience = 1 << 14;
  for (int turn = 0;; ++turn) {
    const int found = number.load(std::memory_order_acquire);
    if (found == wanted || found == kStop) {
      return found;
    }
    if (turn > kPatience) {
      if (Clock::now() > end) {
        return kStop;
      }
      std::this_thread::yield();
    }
  }
}

}  // namespace

double handover_nanoseconds() {
  alignas(64) std::atomic<int> number{0};
  Clock::time_point before = Clock::now();
  const Clock::time_point end = before + kMost;
  std::jthread other([&number, end] {
    for (int i = 1; wait_for(number, i, end) != kStop; i += 2) {
      number.store(i + 1, std::memory_order_release);
    }
  });
  double best = std::numeric_limits<double>::infinity();
  for (int i = 1; i < 2 * kBatches * kTimes; i += 2) {
    number.store(i, std::memory_order_release);
    if (wait_for(number, i + 1, end) == kStop) {
      break;
    }
    if ((i + 1) % (2 * kTimes) == 0) {
      const Clock::time_point now = Clock::now();
      best = std::min(best, std::chrono::duration<double, std::nano>(now - before).count() / (2.0 * kTimes));
      before = now;
    }
  }
  number.store(kStop, std::memory_order_release);
  return best;
}

}  // namespace mezzotint
