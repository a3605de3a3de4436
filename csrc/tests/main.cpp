// Do the kernels compute what they should? Every table of kernels that this CPU can run against a naive reference in
// double precision, and the runtime beneath them. `mezzotint_tests`; it exits with 1 when a check fails.
#include "tests/check.hpp"
#include "tests/tables.hpp"

int main() {
  using namespace mezzotint::tests;
  test_dtype();
  test_scratch();
  test_threads();
  test_refusals();
  for (const mezzotint::Kernels* kernels : tables()) {
    const int before = failures;
    test_pack(*kernels);
    test_conv2d(*kernels);
    test_packed(*kernels);
    test_pool(*kernels);
    std::printf("%-16s %s\n", kernels->name, failures == before ? "passed" : "FAILED");
  }
  std::printf("%ld checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
