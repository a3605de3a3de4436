// How do levels become normalised planes without divisions? By products with reciprocals and one correction of each,
// after which nearly all quotients are rounded as by a division. Whether all are, the caller finds out.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/resample.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

// a * b + c, rounded once where the instruction set can.
inline MEZZOTINT_INLINE Vec fused(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && MEZZOTINT_VECTOR_FLOATS == 8
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(MEZZOTINT_NEON)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

struct Divisor {
  Vec minus, reciprocal;

  explicit Divisor(float value) : minus(broadcast(-value)), reciprocal(broadcast(1.0F / value)) {}

  // value / divisor.
  [[nodiscard]] inline MEZZOTINT_INLINE Vec under(Vec value) const {
    const Vec guess = value * reciprocal;
    return fused(fused(guess, minus, value), reciprocal, guess);
  }
};

// The levels of one channel of 16 pixels, three bytes apart in a, b, c.
template <int kChannel>
inline MEZZOTINT_INLINE Bytes16 channel_of(Bytes16 a, Bytes16 b, Bytes16 c) {
  if constexpr (kChannel == 0) {
    const Bytes16 t = __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
    return __builtin_shufflevector(t, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
  } else if constexpr (kChannel == 1) {
    const Bytes16 t = __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0);
    return __builtin_shufflevector(t, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
  } else {
    const Bytes16 t = __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0);
    return __builtin_shufflevector(t, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
  }
}

template <int kChannel>
inline MEZZOTINT_INLINE void put_plane(const PlanesJob& job, Bytes16 a, Bytes16 b, Bytes16 c, const Divisor& white,
                                       const Divisor& std, std::int64_t x) {
  alignas(16) std::uint8_t levels[16];
  *reinterpret_cast<Bytes16*>(levels) = channel_of<kChannel>(a, b, c);
  for (int i = 0; i < 16; i += static_cast<int>(kVecFloats)) {
    const Vec level = __builtin_convertvector(widened(levels + i), Vec);
    const Vec value = std.under(white.under(level) - broadcast(job.mean[kChannel]));
    __builtin_memcpy(job.to[kChannel] + x + i, &value, sizeof value);
  }
}

// At least 16 pixels; the last sixteen overlap those before.
void normalise_pixels(const PlanesJob& job, std::int64_t pixels) {
  const Divisor white(255.0F), red(job.std[0]), green(job.std[1]), blue(job.std[2]);
  for (std::int64_t next = 0; next < pixels; next += 16) {
    const std::int64_t x = next + 16 <= pixels ? next : pixels - 16;
    const std::uint8_t* const from = job.from + 3 * x;
    const Bytes16 a = *reinterpret_cast<const Bytes16*>(from), b = *reinterpret_cast<const Bytes16*>(from + 16),
                  c = *reinterpret_cast<const Bytes16*>(from + 32);
    put_plane<0>(job, a, b, c, white, red, x);
    put_plane<1>(job, a, b, c, white, green, x);
    put_plane<2>(job, a, b, c, white, blue, x);
  }
}

}  // namespace
}  // namespace mezzotint
