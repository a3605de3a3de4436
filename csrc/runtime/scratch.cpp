#include "runtime/scratch.hpp"

#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <mutex>
#include <new>

namespace mezzotint {
namespace {

constexpr std::size_t kAlign = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kKeptBlocks = 32;

// Under the address sanitizer every block is exactly as large as asked for and used once, so that it sees each overrun.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kExact = true;
#else
constexpr bool kExact = false;
#endif

// Stands in front of every block, one cache line long, so that a block knows its own size.
struct alignas(kAlign) Header {
  std::size_t bytes;  // of the whole allocation, this header included
};

// The kept blocks, oldest first. Its lock is only ever tried: when it is held, by another thread or forever (a fork
// in the wrong moment), the caller goes without the cache.
struct Kept {
  std::mutex mutex;
  std::array<Header*, kKeptBlocks> blocks{};
  std::size_t count = 0;
  std::size_t bytes = 0;

  Header* take(std::size_t at) {
    Header* header = blocks[at];
    --count;
    for (std::size_t i = at; i < count; ++i) {
      blocks[i] = blocks[i + 1];
    }
    bytes -= header->bytes;
    return header;
  }
};

// Never destroyed: a daemon thread may still return a block while the process ends.
Kept& kept() {
  static Kept& instance = *new Kept;
  return instance;
}

// A power of two up to a huge page, whole huge pages above: sizes that repeat from layer to layer find a kept block.
std::size_t rounded(std::size_t bytes) {
  if (kExact) {
    return (bytes + kAlign - 1) / kAlign * kAlign;
  }
  if (bytes > kHugePage) {
    return (bytes + kHugePage - 1) / kHugePage * kHugePage;
  }
  std::size_t size = 4096;
  while (size < bytes) {
    size *= 2;
  }
  return size;
}

// Maps one huge page too much and cuts it off again where it does not align.
void* map_aligned(std::size_t bytes) {
  void* mapped = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return nullptr;
  }
  char* const start = static_cast<char*>(mapped);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(start) % kHugePage) % kHugePage;
  if (before) {
    munmap(start, before);
  }
  munmap(start + before + bytes, kHugePage - before);
#ifdef MADV_HUGEPAGE
  madvise(start + before, bytes, MADV_HUGEPAGE);  // advice: where it is refused, ordinary pages serve as well
#endif
  return start + before;
}

bool is_mapped(std::size_t bytes) {
  return bytes >= kHugePage && !kExact;
}

Header* allocate(std::size_t bytes) {
  void* memory = is_mapped(bytes) ? map_aligned(bytes) : std::aligned_alloc(kAlign, bytes);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return new (memory) Header{bytes};
}

void free_block(Header* header) noexcept {
  if (is_mapped(header->bytes)) {
    munmap(header, header->bytes);
  } else {
    std::free(header);
  }
}

// The smallest kept block that holds `bytes` and is not more than twice as large; null if there is none.
Header* reuse(std::size_t bytes) {
  Kept& k = kept();
  const std::unique_lock lock(k.mutex, std::try_to_lock);
  if (!lock) {
    return nullptr;
  }
  std::size_t best = k.count;
  for (std::size_t i = 0; i < k.count; ++i) {
    const std::size_t size = k.blocks[i]->bytes;
    if (size >= bytes && size <= 2 * bytes && (best == k.count || size < k.blocks[best]->bytes)) {
      best = i;
    }
  }
  return best == k.count ? nullptr : k.take(best);
}

// Keeps the block and drops the oldest ones that no longer fit; false if it was not kept.
bool keep(Header* header) noexcept {
  Kept& k = kept();
  const std::unique_lock lock(k.mutex, std::try_to_lock);
  if (!lock || kExact || header->bytes > kScratchKept) {
    return false;
  }
  while (k.count == kKeptBlocks || k.bytes + header->bytes > kScratchKept) {
    free_block(k.take(0));
  }
  k.blocks[k.count++] = header;
  k.bytes += header->bytes;
  return true;
}

}  // namespace

void* scratch_take(std::size_t bytes) {
  if (bytes > PTRDIFF_MAX - 2 * kHugePage) {
    throw std::bad_alloc();
  }
  const std::size_t size = rounded(bytes + sizeof(Header));
  Header* header = reuse(size);
  return (header ? header : allocate(size)) + 1;
}

void scratch_give(void* block) noexcept {
  Header* header = static_cast<Header*>(block) - 1;
  if (!keep(header)) {
    free_block(header);
  }
}

std::size_t release_scratch() noexcept {
  Kept& k = kept();
  const std::unique_lock lock(k.mutex, std::try_to_lock);
  std::size_t bytes = 0;
  while (lock && k.count) {
    Header* header = k.take(0);
    bytes += header->bytes;
    free_block(header);
  }
  return bytes;
}

}  // namespace mezzotint
