// Do the kernels compute what they should? Every table of kernels that this CPU can run against a naive reference in
// double precision, and the runtime beneath them. `mezzotint_tests`; it exits with 1 when a check fails.
//   --names       only tell which instruction sets this CPU can run
//   --user-mode   this is a user-mode emulator, where a forked child cannot start threads (QEMU 7.2 aborts)
#include <cstring>

#include "tests/check.hpp"
#include "tests/tables.hpp"

int main(int count, char** arguments) {
  using namespace mezzotint::tests;
  const char* option = count > 1 ? arguments[1] : "";
  std::printf("runnable:");
  for (const mezzotint::Kernels* kernels : mezzotint::runnable()) {
    std::printf(" %s", kernels->name);
  }
  std::printf("\n");
  if (std::strcmp(option, "--names") == 0) {
    return 0;
  }
  test_dtype();
  test_scratch();
  test_threads();
  if (std::strcmp(option, "--user-mode") != 0) {
    test_fork();
  }
  test_walk();
  test_pace();
  test_turnstile();
  test_refusals();
  test_scatter();
  test_jpeg_without_library();
  test_entropy();
  test_tone();
  for (const mezzotint::Kernels* kernels : tables()) {
    const int before = failures;
    test_pack(*kernels);
    test_conv2d(*kernels);
    test_packed(*kernels);
    test_dense_grad(*kernels);
    test_pool(*kernels);
    test_levels(*kernels);
    test_matrices(*kernels);
    test_planes(*kernels);
    test_abreast(*kernels);
    test_halves(*kernels);
    std::printf("%-16s %s\n", kernels->name, failures == before ? "passed" : "FAILED");
  }
  std::printf("%ld checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
