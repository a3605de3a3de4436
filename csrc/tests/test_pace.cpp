// Is an image given to one thread where that takes less time, to all where that does, and never for long to the wrong
// ones?
#include "engine/pace.hpp"
#include "tests/check.hpp"

namespace mezzotint::tests {
namespace {

// A machine on which one thread and all threads take so many seconds.
struct Machine {
  double one, all;
  double now = 100.0;
  int slow = 0;  // runs with the threads that take longer

  void run(Pace& pace, int runs, int threads = 2) {
    slow = 0;
    for (int i = 0; i < runs; ++i) {
      const int taking = pace.choose(threads, now);
      CHECK(taking == 1 || taking == threads, "one thread or all of them");
      const double taken = taking == 1 ? one : all;
      now += taken;
      slow += taken > one || taken > all;
      pace.note(taking, taken, now);
    }
  }
};

}  // namespace

void test_pace() {
  Pace pace;
  Machine machine{0.011, 0.006};
  machine.run(pace, 1000);
  CHECK(machine.slow > 0 && machine.slow < 90, "all threads are faster: one is tried now and then");
  machine.one = 0.004;  // the cores lie far apart now
  machine.run(pace, 200);
  machine.run(pace, 1000);
  CHECK(machine.slow > 0 && machine.slow < 90, "one thread is faster");
  CHECK(pace.choose(2, machine.now) == 1, "one thread is taken");
  machine.one = 0.011;
  machine.run(pace, 200);
  CHECK(pace.choose(2, machine.now) == 2, "all threads are taken again");
  machine.all = machine.one * 1.03;
  machine.run(pace, 400);
  CHECK(pace.choose(2, machine.now) == 2, "a small difference does not count");
  machine.one = 0.001;
  machine.run(pace, 10, 4);
  CHECK(machine.slow == 10, "another number of threads is another beginning");
}

}  // namespace mezzotint::tests
