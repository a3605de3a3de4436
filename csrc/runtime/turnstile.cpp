#include "runtime/turnstile.hpp"

#include <pthread.h>

#include <algorithm>
#include <memory>
#include <thread>

namespace mezzotint {
namespace {

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
    Waiting& first = *line_.front();
    line_.pop_front();
    taken_ += first.cores = cores_of(first.threads);
    first.may_go.notify_one();
  }
}

Turnstile::Pass::Pass(int threads, Turnstile& turnstile) : turnstile_(turnstile) {
  std::unique_lock lock(turnstile_.mutex_);
  Waiting self{threads, 0, {}};
  turnstile_.line_.push_back(&self);
  turnstile_.admit();
  self.may_go.wait(lock, [&] { return self.cores > 0; });
  cores_ = self.cores;
}

Turnstile::Pass::~Pass() {
  const std::lock_guard lock(turnstile_.mutex_);
  turnstile_.taken_ -= cores_;
  turnstile_.admit();
}

}  // namespace mezzotint
