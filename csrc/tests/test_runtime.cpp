// Do scratch memory and threads keep their promises?
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "isa/select.hpp"
#include "runtime/deal.hpp"
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

// One thread alone, number `self` of `threads`: the chunks that it draws.
std::vector<Range> drawn_alone(std::int64_t count, int threads, int self) {
  Deal deal(count, threads);
  std::vector<Range> chunks;
  deal.draw(self, [&](Range chunk) { chunks.push_back(chunk); });
  return chunks;
}

bool covers(std::vector<Range> chunks, std::int64_t count) {
  std::sort(chunks.begin(), chunks.end(), [](Range a, Range b) { return a.first < b.first; });
  std::int64_t end = 0;
  for (const Range chunk : chunks) {
    if (chunk.first != end || chunk.last <= chunk.first) {
      return false;
    }
    end = chunk.last;
  }
  return end == count;
}

void check_deal() {
  for (const int threads : {1, 2, 3, 64, 100}) {
    for (const std::int64_t count : {1L, 2L, 7L, 1000L, (1L << 31) + 1, 1L << 40}) {
      const int self = threads / 2;
      CHECK(covers(drawn_alone(count, threads, self), count), "a thread alone does all, once");
    }
  }
  const std::vector<Range> own = drawn_alone(1000, 2, 1);
  CHECK(own[0].first == 500 && own[0].last == 750, "a thread begins with half of its own share");
  CHECK(own[1].first == 750 && own[1].last - own[1].first < 250, "and goes on with less");
  bool helps_from_the_end = false;
  for (const Range chunk : own) {
    helps_from_the_end = helps_from_the_end || (chunk.first == 250 && chunk.last == 500);
  }
  CHECK(helps_from_the_end, "it helps the others from the ends of their shares");
  Deal dropped(1000, 2);
  int chunks = 0;
  dropped.draw(0, [&](Range) {
    ++chunks;
    dropped.drop();
  });
  CHECK(chunks == 1, "nothing is left after a drop");
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
  check_deal();
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
