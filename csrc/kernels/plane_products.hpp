// What does one entry of a sparse or dense convolution add, where neighbours are pixels? Two inputs, aligned or not,
// times the weights of one output channel or of a group of them; one description for each type and instruction set.
#pragma once

#include "kernels/cell.hpp"
#include "kernels/plane_jobs.hpp"

namespace mezzotint {
namespace {

typedef float LooseVec __attribute__((vector_size(sizeof(Vec)), aligned(4), may_alias));

// What one step along the entries adds to a tile.
template <class T>
struct PairProduct;

template <>
struct PairProduct<float> {
  using Entry = PairEntry;
  const std::uint8_t *first, *second;
  Vec first_weight, second_weight;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        first_weight(broadcast(entry.first_weight)),
        second_weight(broadcast(entry.second_weight)) {}
  inline MEZZOTINT_INLINE void add_to(Wide<float>& sum, std::int64_t at) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<float>; ++i) {
      sum.v[i] += first_weight * reinterpret_cast<const LooseVec*>(first + at)[i];
      sum.v[i] += second_weight * reinterpret_cast<const LooseVec*>(second + at)[i];
    }
  }
};

#ifdef __AVX512BF16__
template <>
struct PairProduct<BFloat16> {
  using Entry = HalfPairEntry;
  const std::uint8_t *first, *second;
  __m512bh weights;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        weights((__m512bh)_mm512_set1_epi32(static_cast<int>(entry.weights))) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
    const __m512i a = (__m512i)once((Bits)_mm512_loadu_si512(first + at));
    const __m512i b = (__m512i)once((Bits)_mm512_loadu_si512(second + at));
    sum.v[0] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[0], (__m512bh)_mm512_unpacklo_epi16(a, b), weights);
    sum.v[1] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[1], (__m512bh)_mm512_unpackhi_epi16(a, b), weights);
  }
};
#elif defined(MEZZOTINT_NEON_BF16)
template <>
struct PairProduct<BFloat16> {
  using Entry = HalfPairEntry;
  const std::uint8_t *first, *second;
  bfloat16x8_t first_weight, second_weight;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        first_weight(vreinterpretq_bf16_u16(vdupq_n_u16(static_cast<std::uint16_t>(entry.weights)))),
        second_weight(vreinterpretq_bf16_u16(vdupq_n_u16(static_cast<std::uint16_t>(entry.weights >> 16)))) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      const bfloat16x8_t a = (bfloat16x8_t) reinterpret_cast<const LooseBits*>(first + at)[i / 2];
      const bfloat16x8_t b = (bfloat16x8_t) reinterpret_cast<const LooseBits*>(second + at)[i / 2];
      sum.v[i] = (Vec)vbfmlalbq_f32((float32x4_t)sum.v[i], a, first_weight);
      sum.v[i + 1] = (Vec)vbfmlaltq_f32((float32x4_t)sum.v[i + 1], a, first_weight);
      sum.v[i] = (Vec)vbfmlalbq_f32((float32x4_t)sum.v[i], b, second_weight);
      sum.v[i + 1] = (Vec)vbfmlaltq_f32((float32x4_t)sum.v[i + 1], b, second_weight);
    }
  }
};
#else
template <>
struct PairProduct<BFloat16> {
  using Entry = HalfPairEntry;
  const std::uint8_t *first, *second;
  Vec first_weight, second_weight;
  MEZZOTINT_INLINE PairProduct(const std::uint8_t* x, const Entry& entry)
      : first(x + entry.first),
        second(x + entry.second),
        first_weight(broadcast(float_of(entry.weights << 16))),
        second_weight(broadcast(float_of(entry.weights & 0xffff0000u))) {}
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, std::int64_t at) const {
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      const Bits a = once((Bits) reinterpret_cast<const LooseBits*>(first + at)[i / 2]);
      sum.v[i] += first_weight * reinterpret_cast<Vec>(a << 16);
      sum.v[i + 1] += first_weight * reinterpret_cast<Vec>(a & 0xffff0000u);
      const Bits b = once((Bits) reinterpret_cast<const LooseBits*>(second + at)[i / 2]);
      sum.v[i] += second_weight * reinterpret_cast<Vec>(b << 16);
      sum.v[i + 1] += second_weight * reinterpret_cast<Vec>(b & 0xffff0000u);
    }
  }
};
#endif

// What one entry of a group adds, in kTurns: what is read in a turn is made ready once for all output channels. One
// input a turn, where products take one: the weights of both would leave too few registers for the sums.
template <class T>
struct GroupProduct;

template <>
struct GroupProduct<float> {
  using Entry = GroupEntry;
  using Read = Wide<float>;
  static constexpr int kTurns = 2;
  const std::uint8_t* inputs[kTurns];
  const float* weights[kTurns];
  MEZZOTINT_INLINE GroupProduct(const std::uint8_t* x, const Entry& of)
      : inputs{x + of.first, x + of.second}, weights{of.first_weights, of.second_weights} {}
  [[nodiscard]] inline MEZZOTINT_INLINE Read read(int turn, std::int64_t at) const {
    Read found;
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<float>; ++i) {
      found.v[i] = reinterpret_cast<const LooseVec*>(inputs[turn] + at)[i];
    }
    return found;
  }
  inline MEZZOTINT_INLINE void add_to(Wide<float>& sum, const Read& from, int turn, std::int64_t channel) const {
    const Vec weight = broadcast(weights[turn][channel]);
    each_vec(sum, from, [&](Vec& v, Vec x) MEZZOTINT_INLINE { v += weight * x; });
  }
};

#ifdef __AVX512BF16__
template <>
struct GroupProduct<BFloat16> {
  using Entry = HalfGroupEntry;
  struct Read {
    __m512bh low, high;
  };
  static constexpr int kTurns = 1;
  const std::uint8_t *first, *second;
  const std::uint32_t* weights;
  MEZZOTINT_INLINE GroupProduct(const std::uint8_t* x, const Entry& of)
      : first(x + of.first), second(x + of.second), weights(of.weights) {}
  [[nodiscard]] inline MEZZOTINT_INLINE Read read(int, std::int64_t at) const {
    const __m512i a = (__m512i)once((Bits)_mm512_loadu_si512(first + at));
    const __m512i b = (__m512i)once((Bits)_mm512_loadu_si512(second + at));
    return {(__m512bh)_mm512_unpacklo_epi16(a, b), (__m512bh)_mm512_unpackhi_epi16(a, b)};
  }
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, const Read& from, int, std::int64_t channel) const {
    const __m512bh both = (__m512bh)_mm512_set1_epi32(static_cast<int>(weights[channel]));
    sum.v[0] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[0], from.low, both);
    sum.v[1] = (Vec)_mm512_dpbf16_ps((__m512)sum.v[1], from.high, both);
  }
};
#else
template <>
struct GroupProduct<BFloat16> {
  using Entry = HalfGroupEntry;
  using Read = Wide<BFloat16>;
  static constexpr int kTurns = 2;
  const std::uint8_t* inputs[kTurns];
  const std::uint32_t* weights;
  MEZZOTINT_INLINE GroupProduct(const std::uint8_t* x, const Entry& of)
      : inputs{x + of.first, x + of.second}, weights(of.weights) {}
  [[nodiscard]] inline MEZZOTINT_INLINE Read read(int turn, std::int64_t at) const {
    Read found;
#pragma GCC unroll 4
    for (int i = 0; i < kVecsOf<BFloat16>; i += 2) {
      const Bits pairs = once((Bits) reinterpret_cast<const LooseBits*>(inputs[turn] + at)[i / 2]);
      found.v[i] = reinterpret_cast<Vec>(pairs << 16);
      found.v[i + 1] = reinterpret_cast<Vec>(pairs & 0xffff0000u);
    }
    return found;
  }
  inline MEZZOTINT_INLINE void add_to(Wide<BFloat16>& sum, const Read& from, int turn, std::int64_t channel) const {
    const Vec weight = broadcast(float_of(turn == 0 ? weights[channel] << 16 : weights[channel] & 0xffff0000u));
    each_vec(sum, from, [&](Vec& v, Vec x) MEZZOTINT_INLINE { v += weight * x; });
  }
};
#endif

}  // namespace
}  // namespace mezzotint
