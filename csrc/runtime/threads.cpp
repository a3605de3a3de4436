#include "runtime/threads.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#include "runtime/deal.hpp"
#include "runtime/pool.hpp"

namespace mezzotint {
namespace {

// Waking a thread takes a few microseconds, the time of some ten thousand vector operations.
constexpr std::int64_t kOperationsPerThread = 16384;

struct OpenMp {
  void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
  int (*thread_number)() = nullptr;
};

std::atomic<bool> forked{false};
std::atomic<const OpenMp*> openmp{nullptr};

// An OpenMP pool does not survive a fork (its threads are gone, its locks may be held); the child uses our own.
void watch_forks() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { forked.store(true); }); });
}

// Null as long as there is none. What others read already is not written again.
const OpenMp* look_for_openmp() {
  static OpenMp found;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (openmp.load(std::memory_order_relaxed) == nullptr) {
    found.parallel = reinterpret_cast<decltype(found.parallel)>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    found.thread_number = reinterpret_cast<decltype(found.thread_number)>(dlsym(RTLD_DEFAULT, "omp_get_thread_num"));
    openmp.store(found.parallel && found.thread_number ? &found : nullptr, std::memory_order_release);
  }
  return openmp.load(std::memory_order_relaxed);
}

// PyTorch loads its libgomp for all to see. Looked for until it is found: torch may be imported after us.
const OpenMp* find_openmp() {
  if (forked.load(std::memory_order_relaxed)) {
    return nullptr;
  }
  if (const OpenMp* found = openmp.load(std::memory_order_acquire)) {
    return found;
  }
  watch_forks();
  return look_for_openmp();
}

struct Loop {
  RangeFunction body;
  const void* context;
  Deal deal;
  const OpenMp* pool;
  std::atomic<int> joined{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  // Of a thread of the team: the same one in every loop, where the pool knows.
  int number() { return pool ? pool->thread_number() : joined.fetch_add(1, std::memory_order_relaxed); }

  void fail(std::exception_ptr what) noexcept {
    const std::lock_guard lock(error_mutex);
    if (!error) {
      error = std::move(what);
    }
    deal.drop();
  }
};

// What every thread of a team runs.
void draw_chunks(void* context) {
  Loop& loop = *static_cast<Loop*>(context);
  try {
    loop.deal.draw(loop.number(), [&](Range chunk) { loop.body(loop.context, chunk.first, chunk.last); });
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
  Loop loop{body, context, Deal(count, team), find_openmp(), {}, {}, {}};
  if (loop.pool) {
    loop.pool->parallel(&draw_chunks, &loop, static_cast<unsigned>(team), 0);
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
