// How does a native test tell that something is wrong? CHECK counts and prints; main() fails if anything failed.
#pragma once

#include <cstdio>
#include <string>

#include "isa/table.hpp"

namespace mezzotint::tests {

inline int failures = 0;
inline long checks = 0;

inline bool check(bool good, const std::string& what, const char* file, int line) {
  ++checks;
  if (!good && ++failures <= 20) {
    std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what.c_str());
  }
  return good;
}

#define CHECK(condition, what) ::mezzotint::tests::check((condition), (what), __FILE__, __LINE__)

void test_dtype();
void test_scratch();
void test_threads();
void test_fork();
void test_walk();
void test_pace();
void test_turnstile();
void test_pack(const Kernels& kernels);
void test_conv2d(const Kernels& kernels);
void test_packed(const Kernels& kernels);
void test_dense_grad(const Kernels& kernels);
void test_pool(const Kernels& kernels);
void test_levels(const Kernels& kernels);
void test_matrices(const Kernels& kernels);
void test_planes(const Kernels& kernels);
void test_abreast(const Kernels& kernels);
void test_halves(const Kernels& kernels);
void test_scatter();
void test_jpeg_without_library();
void test_entropy();
void test_tone();
void test_refusals();

}  // namespace mezzotint::tests
