// How many runs of programs go on at once? As many as there are cores for; who comes then waits in line, as runs that
// took turns on a core would drive each other out of its caches.
#pragma once

#include <condition_variable>
#include <cstdint>
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
  std::mutex mutex_;
  std::condition_variable moved_;
  int cores_ = 1, taken_ = 0;
  std::uint64_t next_ = 0, serving_ = 0;  // tickets
};

}  // namespace mezzotint
