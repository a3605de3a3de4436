// Do runs wait in line for cores, never more of them than there are, and each in its turn?
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "runtime/turnstile.hpp"
#include "tests/check.hpp"

namespace mezzotint::tests {

namespace {

// Whoever calls them, runs fail for their own callers, and the others go on.
void check_errors(Turnstile& turnstile) {
  std::atomic<int> own{0}, done{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        for (int turn = 0; turn < 40; ++turn) {
          try {
            turnstile.run(1 + i % 3, i % 4 < 2, [&](int) {
              std::this_thread::yield();
              if (i % 2) {
                throw i;
              }
              ++done;
            });
          } catch (const int number) {
            own += number == i;
          }
        }
      });
    }
  }
  CHECK(own == 4 * 40 && done == 4 * 40, "errors come to those whose runs fail");
}

}  // namespace

void test_turnstile() {
  Turnstile turnstile;
  turnstile.set_cores(3);
  std::atomic<int> inside{0}, most{0}, passed{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 12; ++i) {
      threads.emplace_back([&, i] {
        for (int turn = 0; turn < 50; ++turn) {
          const int wanted = 1 + (i + turn) % 5;  // more than there are count as all
          turnstile.run(wanted, false, [&](int) {
            const int now = inside += std::min(wanted, 3);
            for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
            }
            std::this_thread::yield();
            inside -= std::min(wanted, 3);
            ++passed;
          });
        }
      });
    }
  }
  CHECK(most <= 3, "no more threads than cores");
  CHECK(passed == 12 * 50, "all have their turn");
  turnstile.set_cores(0);
  turnstile.run(4, false, [&](int) { ++passed; });  // there is always a core
  CHECK(passed == 12 * 50 + 1, "one core is enough");
  check_errors(turnstile);
}

}  // namespace mezzotint::tests
