// How is an 8-bit image resampled? Sums of 32-bit integers as in Pillow's Resample.c, whose every bit they reproduce.
//
// Along a row, neighbouring outputs need inputs at irregular places; along a column they do not. So sixteen rows are
// transposed, resampled across, and transposed back.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

typedef std::uint8_t Bytes16 __attribute__((vector_size(16), may_alias, aligned(1)));
typedef std::uint8_t ByteVec __attribute__((vector_size(MEZZOTINT_VECTOR_FLOATS), may_alias, aligned(1)));
typedef std::int32_t IntVec __attribute__((vector_size(4 * MEZZOTINT_VECTOR_FLOATS), may_alias));

// Bytes as integers, and a sum, of which half a unit is a part already, as a level. GCC 12 takes the bytes of a
// __builtin_convertvector one by one, so the instruction sets with a name for it are asked by that name.
#if defined(__AVX512F__) && MEZZOTINT_VECTOR_FLOATS == 16
inline MEZZOTINT_INLINE IntVec widened(const std::uint8_t* from) {
  return (IntVec)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

inline MEZZOTINT_INLINE void put_levels(std::uint8_t* to, IntVec sum) {
  const __m512i units = _mm512_max_epi32(_mm512_srai_epi32((__m512i)sum, kTapBits), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtusepi32_epi8(units));
}
#elif defined(__AVX2__) && MEZZOTINT_VECTOR_FLOATS == 8
inline MEZZOTINT_INLINE IntVec widened(const std::uint8_t* from) {
  return (IntVec)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}

inline MEZZOTINT_INLINE void put_levels(std::uint8_t* to, IntVec sum) {
  const __m256i units = _mm256_srai_epi32((__m256i)sum, kTapBits);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(units), _mm256_extracti128_si256(units, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
}
#elif defined(MEZZOTINT_NEON) && MEZZOTINT_VECTOR_FLOATS == 4
inline MEZZOTINT_INLINE IntVec widened(const std::uint8_t* from) {
  std::uint32_t four;
  __builtin_memcpy(&four, from, sizeof four);
  return (IntVec)vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
}

inline MEZZOTINT_INLINE void put_levels(std::uint8_t* to, IntVec sum) {
  const int16x4_t units = vqmovn_s32(vshrq_n_s32((int32x4_t)sum, kTapBits));
  const std::uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vqmovun_s16(vcombine_s16(units, units))), 0);
  __builtin_memcpy(to, &four, sizeof four);
}
#else
inline MEZZOTINT_INLINE IntVec widened(const std::uint8_t* from) {
  return __builtin_convertvector(*reinterpret_cast<const ByteVec*>(from), IntVec);
}

inline MEZZOTINT_INLINE void put_levels(std::uint8_t* to, IntVec sum) {
  sum >>= kTapBits;
  sum = sum < 0 ? IntVec{} : sum;
  sum = sum > 255 ? IntVec{} + 255 : sum;
  *reinterpret_cast<ByteVec*>(to) = __builtin_convertvector(sum, ByteVec);
}
#endif

// Four rounds, each interleaving row i with row i + 8: a round rotates the eight bits of (row, column) by one place.
inline MEZZOTINT_INLINE void transpose(Bytes16 (&m)[kResampleRows]) {
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
    Bytes16 t[kResampleRows];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      t[2 * i] = __builtin_shufflevector(m[i], m[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      t[2 * i + 1] =
          __builtin_shufflevector(m[i], m[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kResampleRows; ++i) {
      m[i] = t[i];
    }
  }
}

// The bytes [first, last) of rows rows[0..15] -> columns[byte][row].
inline void rows_to_columns(const std::uint8_t* const (&rows)[kResampleRows], std::int64_t first, std::int64_t last,
                            std::uint8_t* columns) {
  for (std::int64_t at = first; at < last; at += 16) {
    const std::int64_t bytes = last - at < 16 ? last - at : 16;
    Bytes16 m[kResampleRows];
    if (bytes == 16) {
#pragma GCC unroll 16
      for (int i = 0; i < kResampleRows; ++i) {
        m[i] = *reinterpret_cast<const Bytes16*>(rows[i] + at);
      }
    } else {
      for (int i = 0; i < kResampleRows; ++i) {
        m[i] = Bytes16{};
        __builtin_memcpy(&m[i], rows[i] + at, static_cast<std::size_t>(bytes));
      }
    }
    transpose(m);
    for (std::int64_t i = 0; i < bytes; ++i) {
      *reinterpret_cast<Bytes16*>(columns + (at + i) * kResampleRows) = m[i];
    }
  }
}

// columns[byte][row] -> `valid` rows of `bytes` bytes.
inline void columns_to_rows(const std::uint8_t* columns, std::int64_t bytes, std::uint8_t* to, std::int64_t stride,
                            std::int64_t valid) {
  for (std::int64_t at = 0; at < bytes; at += 16) {
    const std::int64_t wide = bytes - at < 16 ? bytes - at : 16;
    Bytes16 m[kResampleRows];
    for (std::int64_t i = 0; i < kResampleRows; ++i) {
      m[i] = i < wide ? *reinterpret_cast<const Bytes16*>(columns + (at + i) * kResampleRows) : Bytes16{};
    }
    transpose(m);
    for (std::int64_t row = 0; row < valid; ++row) {
      if (wide == 16) {
        *reinterpret_cast<Bytes16*>(to + row * stride + at) = m[row];
      } else {
        __builtin_memcpy(to + row * stride + at, &m[row], static_cast<std::size_t>(wide));
      }
    }
  }
}

// All output columns of sixteen transposed rows.
template <int kChannels>
inline void resample_columns(const std::uint8_t* columns, const Taps& taps, std::uint8_t* to) {
  constexpr int kParts = kResampleRows / static_cast<int>(kVecFloats);
  for (std::int64_t x = 0; x < taps.size; ++x) {
    IntVec sum[kChannels][kParts];
    for (auto& of_channel : sum) {
      for (auto& part : of_channel) {
        part = IntVec{} + (1 << (kTapBits - 1));
      }
    }
    const std::uint8_t* at = columns + taps.first[x] * kChannels * kResampleRows;
    const std::int32_t* const weights = taps.weights + x * taps.count;
    for (std::int64_t t = 0; t < taps.count; ++t) {
      for (auto& of_channel : sum) {
        for (int part = 0; part < kParts; ++part) {
          of_channel[part] += widened(at + part * kVecFloats) * weights[t];
        }
        at += kResampleRows;
      }
    }
    for (auto& of_channel : sum) {
      for (auto& part : of_channel) {
        put_levels(to, part);
        to += kVecFloats;
      }
    }
  }
}

// Rows [16 * block, 16 * block + 16) of the job, as far as there are as many.
// scratch: 16 bytes for each byte of a row of the input, and of the output.
void resample_rows(const ResampleJob& job, std::int64_t block, std::uint8_t* scratch) {
  const Taps& taps = job.taps;
  const std::int64_t begin = block * kResampleRows, left = job.from_rows - begin;
  const std::int64_t valid = left < kResampleRows ? left : kResampleRows;
  const std::int64_t one = taps.first[0], other = taps.first[taps.size - 1];
  const std::int64_t first_byte = (one < other ? one : other) * job.channels;
  const std::int64_t last_byte = ((one < other ? other : one) + taps.count) * job.channels;
  const std::uint8_t* rows[kResampleRows];
  for (std::int64_t i = 0; i < kResampleRows; ++i) {
    rows[i] = job.from + (begin + (i < valid ? i : valid - 1)) * job.from_stride;
  }
  rows_to_columns(rows, first_byte, last_byte, scratch);
  std::uint8_t* const resampled = scratch + last_byte * kResampleRows;
  if (job.channels == 3) {
    resample_columns<3>(scratch, taps, resampled);
  } else {
    resample_columns<1>(scratch, taps, resampled);
  }
  columns_to_rows(resampled, taps.size * job.channels, job.to + begin * job.to_stride, job.to_stride, valid);
}

// Output row y of a job across rows; `bytes` of it.
void resample_across(const ResampleJob& job, std::int64_t y, std::int64_t bytes) {
  const std::uint8_t* const from = job.from + job.taps.first[y] * job.from_stride;
  std::uint8_t* const to = job.to + y * job.to_stride;
  const std::int32_t* const weights = job.taps.weights + y * job.taps.count;
  const std::int64_t count = job.taps.count;
  for (std::int64_t x = 0; bytes < kVecFloats && x < bytes; ++x) {  // less than a vector: one by one
    std::int32_t sum = 1 << (kTapBits - 1);
    for (std::int64_t t = 0; t < count; ++t) {
      sum += from[t * job.from_stride + x] * weights[t];
    }
    sum >>= kTapBits;
    to[x] = static_cast<std::uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
  }
  for (std::int64_t x = 0; bytes >= kVecFloats && x < bytes; x += kVecFloats) {
    const std::int64_t at = x + kVecFloats <= bytes ? x : bytes - kVecFloats;  // the last one overlaps
    IntVec sum = IntVec{} + (1 << (kTapBits - 1));
    for (std::int64_t t = 0; t < count; ++t) {
      sum += widened(from + t * job.from_stride + at) * weights[t];
    }
    put_levels(to + at, sum);
  }
}

}  // namespace
}  // namespace mezzotint
