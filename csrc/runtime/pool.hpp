// Who works when there is no OpenMP runtime in the process? A small pool of threads, made at its first use.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace mezzotint {

class Pool {
 public:
  // The pool of this process; a forked child has one of its own.
  static Pool& instance();

  // Runs work(context) on the calling thread and on up to threads - 1 others, and returns when all are done. While
  // another caller has the pool, or when no thread can be started, the calling thread works alone: work must therefore
  // be such that any number of threads completes it.
  void run(int threads, void (*work)(void*), void* context);

 private:
  void grow(int workers);
  void serve(const std::stop_token& stop);

  std::mutex owner_;  // held by the caller whose job runs
  std::mutex mutex_;  // guards what follows
  std::condition_variable_any wake_;
  std::condition_variable_any done_;
  void (*work_)(void*) = nullptr;
  void* context_ = nullptr;
  int wanted_ = 0;                     // workers that may still join the job
  int working_ = 0;                    // workers inside the job
  std::vector<std::jthread> workers_;  // last, so that it is destroyed (stopped and joined) first
};

}  // namespace mezzotint
