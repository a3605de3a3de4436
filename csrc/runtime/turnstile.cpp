#include "runtime/turnstile.hpp"

#include <pthread.h>

#include <algorithm>
#include <memory>
#include <thread>

namespace mezzotint {
namespace {

// Runs that a caller does at most for others before it returns.
constexpr std::size_t kForOthers = 7;

std::unique_ptr<Turnstile> turnstile;
std::once_flag turnstile_made;
int cores_told = 0;

void make_turnstile() {
  turnstile = std::make_unique<Turnstile>();
  turnstile->set_cores(cores_told ? cores_told : static_cast<int>(std::thread::hardware_concurrency()));
}

// Whoever held or waited for cores in the parent does not exist in the child. Runs in the child's only thread.
void renew_after_fork() {
  (void)turnstile.release();  // its lock may be held for ever
  make_turnstile();
}

}  // namespace

Turnstile& Turnstile::instance() {
  std::call_once(turnstile_made, [] {
    make_turnstile();
    pthread_atfork(nullptr, nullptr, &renew_after_fork);
  });
  return *turnstile;
}

void Turnstile::set_cores(int cores) {
  const std::lock_guard lock(mutex_);
  cores_ = cores_told = std::max(cores, 1);
  admit();
}

void Turnstile::admit() {
  while (!line_.empty() && taken_ + cores_of(line_.front()->threads) <= cores_) {
    Run& first = *line_.front();
    line_.pop_front();
    taken_ += first.cores = cores_of(first.threads);
    first.may_go.notify_one();
  }
}

Turnstile::Run* Turnstile::next_of(int cores) {
  if (line_.empty() || cores_of(line_.front()->threads) != cores) {
    return nullptr;
  }
  Run* next = line_.front();
  line_.pop_front();
  return next;
}

void Turnstile::call(Run& run) noexcept {
  try {
    run.body(run.context);
  } catch (...) {
    run.error = std::current_exception();
  }
}

void Turnstile::take_turn(Run& self) {
  std::unique_lock lock(mutex_);
  line_.push_back(&self);
  admit();
  self.may_go.wait(lock, [&] { return self.cores > 0 || self.is_done; });
  if (self.is_done) {
    return;
  }
  lock.unlock();
  call(self);
  lock.lock();
  // Those who wait now, not who comes meanwhile: of two callers, none has the other work for it all the time.
  const std::size_t others = std::min(line_.size(), kForOthers);
  Run* next = nullptr;
  for (std::size_t i = 0; i < others && (next = next_of(self.cores)) != nullptr; ++i) {
    lock.unlock();
    call(*next);
    lock.lock();
    next->is_done = true;
    next->may_go.notify_one();
  }
  taken_ -= self.cores;
  admit();
}

}  // namespace mezzotint
