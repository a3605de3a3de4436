// How many threads should do a single image together? All, or one: threads that hand lines of memory to each other at
// every step may take longer than one alone, where their cores share no cache or one of them is wanted elsewhere. A
// virtual machine's cores may be near each other now and far apart a minute later, so it is found out again and again.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace mezzotint {

class Pace {
 public:
  // Threads of the next run, of at most so many. Times are in seconds.
  int choose(int most, double now) {
    if (most != most_) {
      *this = Pace();
      most_ = most;
      tried_ = now;
    }
    if (trials_ == 0 && runs_ >= kRuns && now - tried_ >= kSeconds) {
      trials_ = kTrials;
    }
    return is_alone_ != (trials_ > 0) ? 1 : most_;
  }

  // What a run took with the threads that choose() said.
  void note(int threads, double taken, double now) {
    if ((threads == 1) == is_alone_) {
      taken_[runs_++ % kKept] = taken;
    } else if (trials_ > 0 && --trials_ == 0) {  // the runs before it found nothing in the caches
      if (taken < kLess * median()) {
        is_alone_ = !is_alone_;
      }
      runs_ = 0;
      tried_ = now;
    }
  }

 private:
  static constexpr std::size_t kRuns = 24, kKept = 9;
  static constexpr int kTrials = 2;
  static constexpr double kSeconds = 0.25, kLess = 0.93;

  [[nodiscard]] double median() const {
    std::array<double, kKept> sorted = taken_;
    std::sort(sorted.begin(), sorted.end());
    return sorted[kKept / 2];
  }

  int most_ = 0, trials_ = 0;
  bool is_alone_ = false;
  std::size_t runs_ = 0;
  double tried_ = 0.0;
  std::array<double, kKept> taken_{};
};

}  // namespace mezzotint
