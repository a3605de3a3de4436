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
}

Turnstile::Pass::Pass(int threads, Turnstile& turnstile) : turnstile_(turnstile) {
  std::unique_lock lock(turnstile_.mutex_);
  const std::uint64_t ticket = turnstile_.next_++;
  const auto wanted = [&] { return std::clamp(threads, 1, turnstile_.cores_); };
  turnstile_.moved_.wait(
      lock, [&] { return ticket == turnstile_.serving_ && turnstile_.taken_ + wanted() <= turnstile_.cores_; });
  cores_ = wanted();
  turnstile_.taken_ += cores_;
  ++turnstile_.serving_;
  lock.unlock();
  turnstile_.moved_.notify_all();  // there may be cores for the next one as well
}

Turnstile::Pass::~Pass() {
  {
    const std::lock_guard lock(turnstile_.mutex_);
    turnstile_.taken_ -= cores_;
  }
  turnstile_.moved_.notify_all();
}

}  // namespace mezzotint
