// Do runs wait in line for cores, never more of them than there are, and each in its turn?
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "runtime/turnstile.hpp"
#include "tests/check.hpp"

namespace mezzotint::tests {

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
          const Turnstile::Pass pass(wanted, turnstile);
          const int now = inside += std::min(wanted, 3);
          for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
          }
          std::this_thread::yield();
          inside -= std::min(wanted, 3);
          ++passed;
        }
      });
    }
  }
  CHECK(most <= 3, "no more threads than cores");
  CHECK(passed == 12 * 50, "all have their turn");
  turnstile.set_cores(0);
  const Turnstile::Pass alone(4, turnstile);  // returns: there is always a core
}

}  // namespace mezzotint::tests
