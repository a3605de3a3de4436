// How long do the steps of a program take? As the caller sees it, and what the processor works for them.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/program.hpp"

namespace mezzotint {

class Stopwatch {
 public:
  // Adds to `times`, one for each of so many steps, which may be walked through several times. Made by the caller.
  Stopwatch(std::int64_t steps, std::vector<StepTime>& times)
      : steps_(steps), times_(times), most_(static_cast<std::size_t>(steps)) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    for (std::size_t step = 0; step < most_.size(); ++step) {
      times_[step].worked += most_[step];
    }
  }

  // A thread's: nothing is shared before it ends.
  class Hand {
   public:
    explicit Hand(Stopwatch& watch)
        : watch_(watch), worked_(static_cast<std::size_t>(watch.steps_)), seen_(worked_.size()) {}
    Hand(const Hand&) = delete;
    Hand& operator=(const Hand&) = delete;
    ~Hand() {
      const std::lock_guard lock(watch_.mutex_);
      for (std::size_t step = 0; step < worked_.size(); ++step) {
        watch_.most_[step] = std::max(watch_.most_[step], worked_[step]);
        watch_.times_[step].seen += std::this_thread::get_id() == watch_.caller_ ? seen_[step] : 0.0;
      }
    }

    // This thread has no more to do for a step.
    void left(std::int64_t item) { worked_[step_of(item)] += processor_seconds() - worked_before_; }
    // All of it is done.
    void over(std::int64_t item) {
      const Clock::time_point now = Clock::now();
      seen_[step_of(item)] += std::chrono::duration<double>(now - seen_before_).count();
      seen_before_ = now;
      worked_before_ = processor_seconds();
    }

   private:
    using Clock = std::chrono::steady_clock;

    // Of this thread alone: what other programs take away does not count.
    static double processor_seconds() {
      timespec now{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
      return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
    }
    [[nodiscard]] std::size_t step_of(std::int64_t item) const {
      return static_cast<std::size_t>(item % watch_.steps_);
    }

    Stopwatch& watch_;
    std::vector<double> worked_, seen_;
    Clock::time_point seen_before_ = Clock::now();
    double worked_before_ = processor_seconds();
  };

 private:
  std::int64_t steps_;
  std::vector<StepTime>& times_;
  std::vector<double> most_;
  std::mutex mutex_;
  const std::thread::id caller_ = std::this_thread::get_id();
};

}  // namespace mezzotint
