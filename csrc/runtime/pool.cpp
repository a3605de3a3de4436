#include "runtime/pool.hpp"

#include <pthread.h>

#include <memory>
#include <system_error>

namespace mezzotint {
namespace {

std::unique_ptr<Pool> pool;
std::once_flag pool_made;

// The parent's threads do not exist in the child: its pool is forgotten there (joining it would wait forever) and a
// new one stands ready. Runs in the child's only thread.
void renew_after_fork() {
  (void)pool.release();
  pool = std::make_unique<Pool>();
}

}  // namespace

Pool& Pool::instance() {
  std::call_once(pool_made, [] {
    pool = std::make_unique<Pool>();
    pthread_atfork(nullptr, nullptr, &renew_after_fork);
  });
  return *pool;
}

void Pool::run(int threads, void (*work)(void*), void* context) {
  const std::unique_lock owner(owner_, std::try_to_lock);
  if (!owner) {
    work(context);
    return;
  }
  grow(threads - 1);
  {
    const std::lock_guard lock(mutex_);
    work_ = work;
    context_ = context;
    wanted_ = threads - 1;
  }
  wake_.notify_all();
  work(context);
  std::unique_lock lock(mutex_);
  wanted_ = 0;  // who has not joined by now comes too late: the work is done
  done_.wait(lock, [this] { return working_ == 0; });
}

void Pool::grow(int workers) {
  try {
    while (static_cast<int>(workers_.size()) < workers) {
      workers_.emplace_back([this](const std::stop_token& stop) { serve(stop); });
    }
  } catch (const std::system_error&) {
    return;  // the system's limit on threads is reached: those that exist do the work
  }
}

void Pool::serve(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [this] { return wanted_ > 0; })) {
    --wanted_;
    ++working_;
    lock.unlock();
    work_(context_);
    lock.lock();
    if (--working_ == 0) {
      done_.notify_all();
    }
  }
}

}  // namespace mezzotint
