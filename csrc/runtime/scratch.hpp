// Where do the kernels put what they need only for the length of a call? Aligned scratch memory, reused within a bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace mezzotint {

// Freed blocks are kept for reuse up to this many bytes in all; the rest goes back to the system at once.
constexpr std::size_t kScratchKept = std::size_t{64} << 20;

// Returns at least `bytes` bytes, 64-byte aligned; large blocks are backed by huge pages where the system has them.
// Throws std::bad_alloc. Safe to call from several threads.
void* scratch_take(std::size_t bytes);
void scratch_give(void* block) noexcept;

// Gives the kept blocks back to the system; returns how many bytes they held.
std::size_t release_scratch() noexcept;

// `count` uninitialised elements of a plain type for the lifetime of the object.
template <class T>
class Scratch {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Scratch() = default;
  explicit Scratch(std::int64_t count)
      : data_(static_cast<T*>(scratch_take(static_cast<std::size_t>(count) * sizeof(T)))) {}
  Scratch(Scratch&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (data_) {
      scratch_give(data_);
    }
  }

  [[nodiscard]] T* get() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
};

}  // namespace mezzotint
