// Do scratch memory and threads keep their promises?
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "isa/select.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"
#include "tests/check.hpp"

namespace mezzotint::tests {
namespace {

std::int64_t parallel_sum(std::int64_t count, int threads) {
  std::atomic<std::int64_t> sum{0};
  parallel_for(count, threads, [&](std::int64_t i) { sum += i; });
  return sum;
}

void check_exceptions() {
  bool caught = false;
  try {
    parallel_for(1000, 4, [](std::int64_t i) {
      if (i == 500) {
        throw InvalidInput("on purpose");
      }
    });
  } catch (const InvalidInput& error) {
    caught = std::strcmp(error.what(), "on purpose") == 0;
  }
  CHECK(caught, "an exception reaches the caller");
}

}  // namespace

void test_scratch() {
  for (const std::int64_t bytes : {0L, 1L, 4096L, 100000L, 5L << 20, 100L << 20}) {
    const Scratch<char> a(bytes), b(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(a.get()) % 64 == 0 && a.get() != b.get(), "aligned and distinct");
    std::memset(a.get(), 1, static_cast<std::size_t>(bytes));
    std::memset(b.get(), 2, static_cast<std::size_t>(bytes));
    CHECK(bytes == 0 || (a[0] == 1 && a[bytes - 1] == 1), "blocks do not overlap");
  }
  CHECK(release_scratch() <= kScratchKept, "kept blocks are bounded");
  CHECK(release_scratch() == 0, "nothing is kept after a release");
  bool refused = false;
  try {
    const Scratch<char> a(std::int64_t{1} << 60);
  } catch (const std::bad_alloc&) {
    refused = true;
  }
  CHECK(refused, "an impossible size is std::bad_alloc");
}

void test_threads() {
  for (const int threads : {1, 2, 3, 8}) {
    for (const std::int64_t count : {0, 1, 2, 7, 1000}) {
      CHECK(parallel_sum(count, threads) == count * (count - 1) / 2, "every index once");
    }
  }
  check_exceptions();
  std::vector<std::thread> callers;
  callers.reserve(4);
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int j = 0; j < 50; ++j) {
        good += parallel_sum(1000, 3) == 499500;
      }
    });
  }
  for (std::thread& caller : callers) {
    caller.join();
  }
  CHECK(good == 200, "several callers at once");
}

void test_fork() {
  const pid_t child = fork();
  if (child == 0) {
    _exit(parallel_sum(10000, 3) == 49995000 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "threads work in a forked child");
}

void test_refusals() {
  bool refused = false;
  try {
    force_isa("sse9");
  } catch (const InvalidInput& error) {
    refused = std::string(error.what()).find("portable") != std::string::npos;
  }
  CHECK(refused, "an unknown instruction set is refused with the list of those that run");
}

}  // namespace mezzotint::tests
