#include "runtime/level1.hpp"

#include <unistd.h>

namespace mezzotint {
namespace {

constexpr std::int64_t kLeast = 32 << 10;

std::int64_t ask() {
#ifdef _SC_LEVEL1_DCACHE_SIZE
  const long told = sysconf(_SC_LEVEL1_DCACHE_SIZE);
  return told > kLeast ? told : kLeast;
#else
  return kLeast;
#endif
}

}  // namespace

std::int64_t level1_bytes() {
  static const std::int64_t bytes = ask();
  return bytes;
}

}  // namespace mezzotint
