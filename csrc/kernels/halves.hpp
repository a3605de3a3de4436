// How are every second pixel and every second row taken from planes? For windows of stride 2: by the window itself, or
// by the convolution before it, which writes the phases that are wanted beside its result, or in its place.
#pragma once

#include <algorithm>

#include "kernels/cell.hpp"
#include "kernels/plane_jobs.hpp"
#include "kernels/plane_products.hpp"

namespace mezzotint {
namespace {

template <class T>
void fill_pixels(T* to, std::int64_t count, T value) {
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = value;
  }
}

void clear(std::uint8_t* from, std::int64_t cells) {
  for (std::int64_t i = 0; i < cells * (kCellBytes / static_cast<std::int64_t>(sizeof(Bits))); ++i) {
    reinterpret_cast<Bits*>(from)[i] = Bits{};
  }
}

// The zeros before the first row of a channel, and those behind the last channel.
void clear_borders(const Planes& y, std::uint8_t* pixels, std::int64_t channel) {
  const std::int64_t size = size_of(y.dtype);
  const std::int64_t lead = y.lead * size / kCellBytes;
  clear(pixels - lead * kCellBytes, lead);
  const std::int64_t body = plane_cells(y) * kCellBytes;
  const std::int64_t spare = (y.stride - y.lead) * size - body;  // that keeps planes from sharing cache sets
  clear(pixels + body, spare / kCellBytes + (channel + 1 == y.channels ? lead : 0));
}

// Calls use(row, column, at, numbers) for what of each row lies in cells [first, last) of a plane: so many numbers from
// a column on, the first one being number `at` of the plane. Two threads never write to one line, as they would wait
// for it.
template <class T, class Use>
inline MEZZOTINT_INLINE void each_row(const Planes& planes, std::int64_t first, std::int64_t last, Use use) {
  constexpr std::int64_t kLanes = kCellBytes / static_cast<std::int64_t>(sizeof(T));
  std::int64_t at = first * kLanes, row = at / planes.pitch, column = at % planes.pitch;
  for (const std::int64_t end = last * kLanes; at < end; ++row, column = 0) {
    const std::int64_t numbers = std::min(planes.pitch - column, end - at);
    use(row, column, at, numbers);
    at += numbers;
  }
}

// Every second one of as many numbers as two vectors hold.
inline MEZZOTINT_INLINE Vec every_second(const BFloat16* from) {
  return reinterpret_cast<Vec>(*reinterpret_cast<const LooseBits*>(from) << 16);
}
template <int kFirst = 0>
inline MEZZOTINT_INLINE Vec every_second(const float* from) {
  const Vec one = reinterpret_cast<const LooseVec*>(from)[0], two = reinterpret_cast<const LooseVec*>(from)[1];
  constexpr int k = kFirst;
#if MEZZOTINT_VECTOR_FLOATS == 16
  return __builtin_shufflevector(one, two, k, k + 2, k + 4, k + 6, k + 8, k + 10, k + 12, k + 14, k + 16, k + 18,
                                 k + 20, k + 22, k + 24, k + 26, k + 28, k + 30);
#elif MEZZOTINT_VECTOR_FLOATS == 8
  return __builtin_shufflevector(one, two, k, k + 2, k + 4, k + 6, k + 8, k + 10, k + 12, k + 14);
#else
  return __builtin_shufflevector(one, two, k, k + 2, k + 4, k + 6);
#endif
}

// As BF16, rounded.
inline MEZZOTINT_INLINE void put_rounded(Vec value, BFloat16* to) {
#ifdef __AVX512BF16__
  const __m256bh halves = _mm512_cvtneps_pbh((__m512)value);
#else
  typedef std::uint16_t Halves __attribute__((vector_size(sizeof(Vec) / 2)));
  const Halves halves = __builtin_convertvector(rounded(value) >> 16, Halves);
#endif
  __builtin_memcpy(to, &halves, sizeof halves);
}

// The first `count` numbers of a vector, none if it is not positive, all if it is larger; BF16 holds them.
inline MEZZOTINT_INLINE void put_some(Vec value, float* to, std::int64_t count) {
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
  const auto mask = static_cast<__mmask16>((1u << std::clamp<std::int64_t>(count, 0, 16)) - 1u);
  _mm512_mask_storeu_ps(to, mask, (__m512)value);
#else
  for (std::int64_t i = 0; i < std::min(count, kVecFloats); ++i) {
    to[i] = value[i];
  }
#endif
}
inline MEZZOTINT_INLINE void put_some(Vec value, BFloat16* to, std::int64_t count) {
  typedef std::uint16_t Halves __attribute__((vector_size(sizeof(Vec) / 2)));
  const Halves halves = __builtin_convertvector(reinterpret_cast<Bits>(value) >> 16, Halves);
#if defined(__AVX512BW__) && defined(__AVX512VL__) && MEZZOTINT_VECTOR_FLOATS == 16
  const auto mask = static_cast<__mmask16>((1u << std::clamp<std::int64_t>(count, 0, 16)) - 1u);
  _mm256_mask_storeu_epi16(to, mask, (__m256i)halves);
#else
  for (std::int64_t i = 0; i < std::min(count, kVecFloats); ++i) {
    to[i].bits = halves[i];
  }
#endif
}

// A cell of a result, which lies at `from`, goes to the phases of its channel, the first of which begins at `to`.
template <class T>
inline MEZZOTINT_INLINE void put_phases(const PhaseRoutes& routes, std::int64_t cell, const Cell* from,
                                        std::uint8_t* to) {
  const PhaseRoute* route = routes.routes + routes.starts[cell];
  const PhaseRoute* const end = routes.routes + routes.starts[cell + 1];
  to += routes.beside;
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const __m512i numbers = _mm512_load_si512(from);
  if constexpr (sizeof(T) == sizeof(BFloat16)) {
    const __m512i order = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24,
                                           22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i parted = _mm512_permutexvar_epi16(order, numbers);
    for (; route != end; ++route) {
      _mm256_mask_storeu_epi16(to + route->even, route->even_mask, _mm512_castsi512_si256(parted));
      _mm256_mask_storeu_epi16(to + route->odd, route->odd_mask, _mm512_extracti64x4_epi64(parted, 1));
    }
  } else {
    const __m512i order = _mm512_set_epi32(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i parted = _mm512_permutexvar_epi32(order, numbers);
    for (; route != end; ++route) {
      const auto even_mask = static_cast<__mmask8>(route->even_mask), odd_mask = static_cast<__mmask8>(route->odd_mask);
      _mm256_mask_storeu_epi32(to + route->even, even_mask, _mm512_castsi512_si256(parted));
      _mm256_mask_storeu_epi32(to + route->odd, odd_mask, _mm512_extracti64x4_epi64(parted, 1));
    }
  }
#else
  const T* const numbers = reinterpret_cast<const T*>(from);
  constexpr int kHalf = static_cast<int>(kCellBytes / sizeof(T)) / 2;
  for (; route != end; ++route) {
    T* const even = reinterpret_cast<T*>(to + route->even);
    T* const odd = reinterpret_cast<T*>(to + route->odd);
    for (int i = 0; i < kHalf; ++i) {
      if (route->even_mask >> i & 1) {
        even[i] = numbers[2 * i];
      }
      if (route->odd_mask >> i & 1) {
        odd[i] = numbers[2 * i + 1];
      }
    }
  }
#endif
}

// What no route leads to.
inline void clear_unrouted(const PhaseRoutes& routes, std::uint8_t* phases, bool is_last_channel) {
  for (std::int64_t i = 0; i < routes.gaps; ++i) {
    std::uint8_t* const from = phases + routes.gap[i].first;
    if (routes.gap[i].bytes == sizeof(BFloat16)) {  // one column in each row: no call for that
      __builtin_memset(from, 0, sizeof(BFloat16));
    } else {
      __builtin_memset(from, 0, static_cast<std::size_t>(routes.gap[i].bytes));
    }
  }
  if (is_last_channel) {
    __builtin_memset(phases + routes.behind.first, 0, static_cast<std::size_t>(routes.behind.bytes));
  }
}

}  // namespace
}  // namespace mezzotint
