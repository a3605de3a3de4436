// How many runs of programs go on at once? As many as there are cores for; who comes then waits in line, as runs that
// took turns on a core would drive each other out of its caches. Whoever ends a run does some of the next ones for
// their callers: its threads are awake, each on a core of its own, which takes those of a caller that was asleep
// milliseconds. Of several that wait each of its threads does whole ones, as far as they can be done so.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>

namespace mezzotint {

class Turnstile {
 public:
  // The one of this process; a forked child has a new one, through which nobody has gone.
  static Turnstile& instance();

  // Counted from the next entry on; at least 1.
  void set_cores(int cores);

  // Calls body(threads) once there are cores for so many, at most all: first come, first served. Another thread that
  // waits for cores, too, may call it instead of this one, which throws what it throws.
  // is_small: body(1) may be called as well, which does the same with one thread.
  template <class Body>
  void run(int threads, bool is_small, const Body& body) {
    const auto call = [](const void* context, int with) { (*static_cast<const Body*>(context))(with); };
    Run self{threads, is_small, call, &body};
    take_turn(self);
    if (self.error) {
      std::rethrow_exception(self.error);
    }
  }

 private:
  // Someone in line, woken alone: if all woke whenever one may go, they would take the cores from those who run.
  struct Run {
    int threads;
    bool is_small;
    void (*body)(const void*, int threads);
    const void* context;
    int cores = 0;  // that it holds, once it may go
    bool is_done = false;
    std::exception_ptr error = nullptr;
    std::condition_variable may_go = {};
  };

  // Runs that a caller does at most for others before it returns.
  static constexpr std::size_t kForOthers = 7;
  // Some of them; no memory is asked for while others wait.
  struct Some {
    std::array<Run*, kForOthers> runs;
    std::size_t count = 0;
  };

  void take_turn(Run& self);
  static void call(Run& run, int threads) noexcept;
  // Each thread of a team does whole runs, all of which are small.
  void call_apart(const Some& some, int threads);
  void tell(Run& run);
  // The lock is held: those who can go, from the first on; and the first in line, if it wants so many cores.
  void admit();
  Run* next_of(int cores);
  // Small ones from the first in line on, at most so many, and as many for each thread of `self`.
  Some small_ones(const Run& self, std::size_t most);
  [[nodiscard]] int cores_of(int threads) const { return threads < 1 ? 1 : threads < cores_ ? threads : cores_; }

  std::mutex mutex_;
  std::deque<Run*> line_;
  int cores_ = 1, taken_ = 0;
};

}  // namespace mezzotint
