#include "runtime/threads.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#include "runtime/pool.hpp"

namespace mezzotint {
namespace {

// What is left is enough for so many chunks a thread: they are large at first, where neighbours share what they read,
// and small at the end, so that nobody waits long for the last one.
constexpr std::int64_t kChunksOfRest = 2;
// No chunk is smaller than all of the range cut into so many a thread.
constexpr std::int64_t kChunksAtMost = 32;
// Waking a thread takes a few microseconds, the time of some ten thousand vector operations.
constexpr std::int64_t kOperationsPerThread = 16384;

using OpenMpParallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

std::atomic<bool> forked{false};
std::atomic<OpenMpParallel> openmp{nullptr};

// An OpenMP pool does not survive a fork (its threads are gone, its locks may be held); the child uses our own.
void watch_forks() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { forked.store(true); }); });
}

// PyTorch loads its libgomp for all to see. Looked for until it is found: torch may be imported after us.
OpenMpParallel find_openmp() {
  if (forked.load(std::memory_order_relaxed)) {
    return nullptr;
  }
  OpenMpParallel found = openmp.load(std::memory_order_acquire);
  if (found == nullptr) {
    watch_forks();
    found = reinterpret_cast<OpenMpParallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    openmp.store(found, std::memory_order_release);
  }
  return found;
}

struct Loop {
  RangeFunction body;
  const void* context;
  std::int64_t count;
  std::int64_t threads;
  std::atomic<std::int64_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void fail(std::exception_ptr what) noexcept {
    const std::lock_guard lock(error_mutex);
    if (!error) {
      error = std::move(what);
    }
    next.store(count);
  }
};

std::int64_t chunk_from(const Loop& loop, std::int64_t begin) {
  const std::int64_t left = loop.count - begin, least = loop.count / (loop.threads * kChunksAtMost);
  return std::min(left, std::max({left / (loop.threads * kChunksOfRest), least, std::int64_t{1}}));
}

// What every thread of a team runs; its identity does not matter, `next` is where the next chunk begins.
void draw_chunks(void* context) {
  Loop& loop = *static_cast<Loop*>(context);
  try {
    std::int64_t begin = loop.next.load();
    while (begin < loop.count) {
      const std::int64_t end = begin + chunk_from(loop, begin);
      if (loop.next.compare_exchange_weak(begin, end)) {
        loop.body(loop.context, begin, end);
        begin = loop.next.load();
      }
    }
  } catch (...) {
    loop.fail(std::current_exception());
  }
}

}  // namespace

void run_ranges(std::int64_t count, int threads, RangeFunction body, const void* context) {
  if (count <= 0) {
    return;
  }
  const int team = static_cast<int>(std::min<std::int64_t>(count, threads));
  if (team <= 1) {
    body(context, 0, count);
    return;
  }
  Loop loop{body, context, count, team, {}, {}, {}};
  if (const OpenMpParallel parallel = find_openmp()) {
    parallel(&draw_chunks, &loop, static_cast<unsigned>(team), 0);
  } else {
    Pool::instance().run(team, &draw_chunks, &loop);
  }
  if (loop.error) {
    std::rethrow_exception(loop.error);
  }
}

int useful_threads(std::int64_t operations, int threads) {
  return static_cast<int>(std::clamp<std::int64_t>(operations / kOperationsPerThread, 1, std::max(threads, 1)));
}

const char* thread_pool() {
  return find_openmp() ? "openmp" : "own";
}

}  // namespace mezzotint
