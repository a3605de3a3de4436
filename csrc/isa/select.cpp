#include "isa/select.hpp"

#ifdef MEZZOTINT_X86
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif
#if defined(MEZZOTINT_ARM64) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include <atomic>
#include <cstdlib>
#include <utility>

#include "core/error.hpp"
#include "isa/trial.hpp"

namespace mezzotint {
namespace {

#ifdef MEZZOTINT_X86
// Asked of the CPU itself: not every compiler's __builtin_cpu_supports knows the name "f16c".
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

bool has_bf16_dot() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVX512BF16);
}

// Whether there is a matrix unit, and leave to use it: Linux keeps its registers only for processes that ask.
bool has_amx_bf16() {
#ifdef __linux__
  constexpr unsigned kBf16 = 1U << 22, kTile = 1U << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM of <asm/prctl.h>, XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kBf16) && (d & kTile) &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Where a BF16 dot product takes as long as four multiply-adds (Intel's cores), a gather that makes FP32 numbers of its
// inputs is faster than one that joins them to pairs. All else is taken from the variant with dot products.
const Kernels& avx512_bf16_fma() {
  static const Kernels mixed = [] {
    Kernels kernels = kAvx512Bf16;
    kernels.name = "avx512_bf16_fma";
    kernels.tile_cells = kAvx512.tile_cells;
    kernels.entries_at_once = kAvx512.entries_at_once;
    kernels.gather = kAvx512.gather;
    kernels.plane_tile_cells = kAvx512.plane_tile_cells;
    kernels.plane_gather = kAvx512.plane_gather;
    return kernels;
  }();
  return mixed;
}

const Kernels& amx_bf16(const Kernels& vectors) {
  static const Kernels both = [&] {
    Kernels kernels = vectors;
    kernels.name = "amx_bf16";
    kernels.matrices = &kAmxBf16;
    return kernels;
  }();
  return both;
}
#endif

#ifdef MEZZOTINT_ARM64
// Linux tells programs; elsewhere nobody is asked, and the unit that every AArch64 CPU can run does the work.
bool has_bf16_products() {
#ifdef __linux__
  constexpr unsigned long kHwcap2Bf16 = 1UL << 14;  // of <asm/hwcap.h>, where it is missing before Linux 5.6
  return getauxval(AT_HWCAP2) & kHwcap2Bf16;
#else
  return false;
#endif
}
#endif

std::vector<const Kernels*> detect() {
  std::vector<const Kernels*> found;
#ifdef MEZZOTINT_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && has_bf16_dot()) {
    found = {&kAvx512Bf16, &avx512_bf16_fma()};
    if (gathers_faster(avx512_bf16_fma(), kAvx512Bf16)) {
      std::swap(found[0], found[1]);
    }
    if (has_amx_bf16()) {
      found.insert(found.begin(), &amx_bf16(*found[0]));
    }
  }
  if (avx512) {
    found.push_back(&kAvx512);
  }
  if (avx2) {
    found.push_back(&kAvx2);
  }
#endif
#ifdef MEZZOTINT_ARM64
  if (has_bf16_products()) {
    found.push_back(&kNeonBf16);
  }
  found.push_back(&kNeon);
#endif
  found.push_back(&kPortable);
  return found;
}

const Kernels& find(const std::string& source, const std::string& name) {
  std::string names;
  for (const Kernels* kernels : runnable()) {
    if (name == kernels->name) {
      return *kernels;
    }
    names += (names.empty() ? "" : ", ") + std::string(kernels->name);
  }
  throw InvalidInput(source + ": received '" + name + "'; allowed: " + names +
                     ". These are the instruction sets that this CPU can run.");
}

// Null until the first use, so that a wrong MEZZOTINT_ISA is reported by the first call and not at import.
std::atomic<const Kernels*> chosen{nullptr};

const Kernels& by_default() {
  const char* name = std::getenv("MEZZOTINT_ISA");
  return name && *name ? find("MEZZOTINT_ISA", name) : *runnable().front();
}

}  // namespace

const std::vector<const Kernels*>& runnable() {
  static const std::vector<const Kernels*> found = detect();
  return found;
}

const Kernels& active() {
  const Kernels* kernels = chosen.load(std::memory_order_acquire);
  if (kernels == nullptr) {
    kernels = &by_default();
    chosen.store(kernels, std::memory_order_release);
  }
  return *kernels;
}

void force_isa(const std::string& name) {
  chosen.store(name.empty() ? &by_default() : &find("force_isa", name), std::memory_order_release);
}

}  // namespace mezzotint
