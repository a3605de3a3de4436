// How many runs of programs go on at once? As many as there are cores for; who comes then waits in line, as runs that
// took turns on a core would drive each other out of its caches.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

namespace mezzotint {

class Turnstile {
 public:
  // The one of this process; a forked child has a new one, through which nobody has gone.
  static Turnstile& instance();

  // Counted from the next entry on; at least 1.
  void set_cores(int cores);

  // Holds cores for so many threads, at most all, for its lifetime. The constructor waits: first come, first served.
  class Pass {
   public:
    explicit Pass(int threads, Turnstile& turnstile = instance());
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass();

   private:
    Turnstile& turnstile_;
    int cores_;
  };

 private:
  // Someone in line, woken alone: if all woke whenever one may go, they would take the cores from those who run.
  struct Waiting {
    int threads;
    int cores = 0;  // that it holds, once it may go
    std::condition_variable may_go;
  };

  // Those who can go, from the first on. The lock is held.
  void admit();
  [[nodiscard]] int cores_of(int threads) const { return threads < 1 ? 1 : threads < cores_ ? threads : cores_; }

  std::mutex mutex_;
  std::deque<Waiting*> line_;
  int cores_ = 1, taken_ = 0;
};

}  // namespace mezzotint
