// How many runs of programs go on at once? As many as there are cores for; who comes then waits in line, as runs that
// took turns on a core would drive each other out of its caches. Whoever ends a run does some of the next ones for
// their callers: its threads are awake, each on a core of its own, which takes those of a caller that was asleep
// milliseconds.
#pragma once

#include <condition_variable>
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

  // Calls body() once there are cores for so many threads, at most all: first come, first served. Another thread that
  // waits for cores, too, may call it instead of this one, which throws what it throws.
  template <class Body>
  void run(int threads, const Body& body) {
    Run self{threads, [](const void* context) { (*static_cast<const Body*>(context))(); }, &body};
    take_turn(self);
    if (self.error) {
      std::rethrow_exception(self.error);
    }
  }

 private:
  // Someone in line, woken alone: if all woke whenever one may go, they would take the cores from those who run.
  struct Run {
    int threads;
    void (*body)(const void*);
    const void* context;
    int cores = 0;  // that it holds, once it may go
    bool is_done = false;
    std::exception_ptr error = nullptr;
    std::condition_variable may_go = {};
  };

  void take_turn(Run& self);
  static void call(Run& run) noexcept;
  // The lock is held: those who can go, from the first on; and the first in line, if it wants so many cores.
  void admit();
  Run* next_of(int cores);
  [[nodiscard]] int cores_of(int threads) const { return threads < 1 ? 1 : threads < cores_ ? threads : cores_; }

  std::mutex mutex_;
  std::deque<Run*> line_;
  int cores_ = 1, taken_ = 0;
};

}  // namespace mezzotint
