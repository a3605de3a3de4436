#include "runtime/turnstile.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "runtime/pool.hpp"

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

Turnstile::Some Turnstile::small_ones(const Run& self, std::size_t most) {
  const auto fits = [&](const Run* run) { return run->is_small && cores_of(run->threads) == self.cores; };
  std::size_t count = 0;
  while (count < std::min(most, line_.size()) && fits(line_[count])) {
    ++count;
  }
  count -= self.cores > 1 ? count % static_cast<std::size_t>(self.cores) : count;
  Some found{};
  for (; found.count < count; ++found.count) {
    found.runs[found.count] = line_.front();
    line_.pop_front();
  }
  return found;
}

void Turnstile::tell(Run& run) {
  run.is_done = true;
  run.may_go.notify_one();
}

void Turnstile::call_apart(const Some& some, int threads) {
  struct Team {
    Turnstile& turnstile;
    const Some& some;
    std::atomic<std::size_t> next{0};
  };
  Team team{*this, some};
  Pool::instance().run(
      threads,
      [](void* context) {
        Team& team = *static_cast<Team*>(context);
        for (std::size_t at; (at = team.next.fetch_add(1, std::memory_order_relaxed)) < team.some.count;) {
          call(*team.some.runs[at], 1);
          const std::lock_guard lock(team.turnstile.mutex_);
          team.turnstile.tell(*team.some.runs[at]);
        }
      },
      &team);
}

void Turnstile::call(Run& run, int threads) noexcept {
  try {
    run.body(run.context, threads);
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
  call(self, self.threads);
  lock.lock();
  // Those who wait now, not who comes meanwhile: of two callers, none has the other work for it all the time.
  std::size_t others = std::min(line_.size(), kForOthers);
  if (const Some small = small_ones(self, others); small.count > 0) {
    others -= small.count;
    lock.unlock();
    call_apart(small, self.cores);
    lock.lock();
  }
  Run* next = nullptr;
  for (std::size_t i = 0; i < others && (next = next_of(self.cores)) != nullptr; ++i) {
    lock.unlock();
    call(*next, next->threads);
    lock.lock();
    tell(*next);
  }
  taken_ -= self.cores;
  admit();
}

}  // namespace mezzotint
