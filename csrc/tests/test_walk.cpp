// Do threads that walk through steps together do every task once, and none before the step before is done?
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "engine/walk.hpp"
#include "tests/check.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {
namespace {

// `joining` threads, some of which come late, go through steps of random sizes that `foreseen` threads are dealt.
void check_walk(int foreseen, int joining, Random& random) {
  std::vector<std::int64_t> sizes;
  for (int step = 0; step < 40; ++step) {
    sizes.push_back(pick(random, 0, 3) ? pick(random, 0, 30) : 0);
  }
  std::vector<std::unique_ptr<std::atomic<int>[]>> times;
  for (const std::int64_t size : sizes) {
    times.push_back(std::make_unique<std::atomic<int>[]>(static_cast<std::size_t>(size)));
  }
  std::vector<std::atomic<std::int64_t>> done(sizes.size());
  std::atomic<bool> in_order{true};
  std::atomic<std::int64_t> ends{0};
  Walk walk(static_cast<std::int64_t>(sizes.size()), foreseen,
            [&](std::int64_t step) { return sizes[static_cast<std::size_t>(step)]; });
  const auto go = [&] {
    walk.join(
        [&](std::int64_t step, std::int64_t task) {
          const auto at = static_cast<std::size_t>(step);
          if (at > 0 && done[at - 1] != sizes[at - 1]) {
            in_order = false;
          }
          ++times[at][static_cast<std::size_t>(task)];
          if (task % 7 == 3) {
            std::this_thread::yield();
          }
          ++done[at];
        },
        [](std::int64_t) {},
        [&](std::int64_t step) {
          const auto at = static_cast<std::size_t>(step);
          if (done[at] != sizes[at]) {
            in_order = false;
          }
          ++ends;
        });
  };
  {
    std::vector<std::jthread> threads;
    for (int thread = 1; thread < joining; ++thread) {
      threads.emplace_back([&, thread] {
        for (int turn = 0; turn < thread * 50; ++turn) {
          std::this_thread::yield();
        }
        go();
      });
    }
    go();
  }
  bool once = true;
  for (std::size_t step = 0; step < sizes.size(); ++step) {
    for (std::int64_t task = 0; task < sizes[step]; ++task) {
      once = once && times[step][static_cast<std::size_t>(task)] == 1;
    }
  }
  CHECK(once, "every task is done once");
  CHECK(in_order, "no step begins before the one before is done");
  CHECK(ends == static_cast<std::int64_t>(sizes.size()) * std::min(foreseen, joining), "all see the end of every step");
}

}  // namespace

void test_walk() {
  Random random(5);
  for (int foreseen = 1; foreseen <= 5; ++foreseen) {
    for (int joining = 1; joining <= 6; ++joining) {
      check_walk(foreseen, joining, random);
    }
  }
}

}  // namespace mezzotint::tests
