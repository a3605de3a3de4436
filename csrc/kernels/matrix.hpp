// How does a matrix unit add up products? Two tiles times two at a time, whose products are four tiles of FP32 sums.
//
// The instructions are Intel's AMX: a tile is 16 rows of 64 bytes, and one instruction multiplies 16 rows of 32 numbers
// in BF16 with 32 rows of 16 columns; of these a pair of rows lies in one row of a tile, word by word. Without the
// instructions the same is added up number by number, so that everything around is tested on any CPU.
#pragma once

#ifdef __AMX_BF16__
#include <immintrin.h>
#endif

#include "kernels/jobs.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kTileRows = 16;

// FP32 sums: [left tile][right tile][kTileRows][16].
constexpr std::int64_t kSumsOfTile = kTileRows * 16;
constexpr std::int64_t kSumsTogether = 4 * kSumsOfTile;

// Where the left tiles lie: rows of 32 numbers in BF16, `row` cells apart within a step, whose begins are `step` apart.
struct Left {
  const Cell* at;
  std::int64_t row, step;
};

// Where the right ones lie, each two tiles of a step one after the other: at their places, in cells from `at`.
struct Right {
  const Cell* at;
  const std::int32_t* places;
};

// Of steps whose tiles follow each other.
constexpr std::int32_t kInTurn[] = {0, 32, 64, 96, 128, 160, 192, 224};
static_assert(kMatrixPart <= 8 && kMatrixPixels <= 8, "there are no more steps in turn");

#ifdef __AMX_BF16__

// Between these two, this thread's matrix unit has eight tiles of full size. (No object sees to it: what clears up
// behind an exception needs symbols that no unit may hold.)
inline void begin_products() {
  struct alignas(64) {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  } shape;
  for (int tile = 0; tile < 8; ++tile) {
    shape.row_bytes[tile] = kCellBytes;
    shape.rows[tile] = kTileRows;
  }
  _tile_loadconfig(&shape);
}
inline void end_products() {
  _tile_release();
}

// sums (+)= left * right over `steps` steps, each of two tiles of either side.
inline MEZZOTINT_INLINE void add_products(float* sums, bool fresh, Left left, Right right, std::int64_t steps) {
  __asm__ volatile("" ::: "memory");  // what the tiles read has been written: the intrinsics do not tell the compiler
  if (fresh) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kCellBytes);
    _tile_loadd(1, sums + kSumsOfTile, kCellBytes);
    _tile_loadd(2, sums + 2 * kSumsOfTile, kCellBytes);
    _tile_loadd(3, sums + 3 * kSumsOfTile, kCellBytes);
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    _tile_loadd(4, left.at, left.row * kCellBytes);
    const Cell* const columns = right.at + right.places[step];
    _tile_loadd(6, columns, kCellBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, columns + kTileRows, kCellBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left.at + kTileRows * left.row, left.row * kCellBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    left.at += left.step;
  }
  _tile_stored(0, sums, kCellBytes);
  _tile_stored(1, sums + kSumsOfTile, kCellBytes);
  _tile_stored(2, sums + 2 * kSumsOfTile, kCellBytes);
  _tile_stored(3, sums + 3 * kSumsOfTile, kCellBytes);
}

#else

inline void begin_products() {}
inline void end_products() {}

inline void add_tile(float* sums, const Cell* left, std::int64_t row, const Cell* right) {
  const auto* const columns = reinterpret_cast<const BFloat16*>(right);
  for (std::int64_t i = 0; i < kTileRows; ++i) {
    const auto* const numbers = reinterpret_cast<const BFloat16*>(left + i * row);
    for (int k = 0; k < 32; ++k) {
      for (int column = 0; column < 16; ++column) {
        sums[i * 16 + column] += widen(numbers[k]) * widen(columns[(k / 2 * 16 + column) * 2 + k % 2]);
      }
    }
  }
}

inline void add_products(float* sums, bool fresh, Left left, Right right, std::int64_t steps) {
  for (std::int64_t i = 0; fresh && i < kSumsTogether; ++i) {
    sums[i] = 0.0f;
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    for (int tile = 0; tile < 4; ++tile) {
      const Cell* from = left.at + step * left.step + tile / 2 * kTileRows * left.row;
      add_tile(sums + tile * kSumsOfTile, from, left.row, right.at + right.places[step] + tile % 2 * kTileRows);
    }
  }
}

#endif

}  // namespace
}  // namespace mezzotint
