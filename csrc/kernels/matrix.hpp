// How does a matrix unit add up products? Two tiles of weights times two of inputs at a time, four tiles of FP32 sums.
//
// The instructions are Intel's AMX: a tile is 16 rows of 64 bytes, and one instruction multiplies 16 rows of 32 BF16
// weights with 32 rows of 16 columns, two rows to a row of words. Without them the same is added up number by number,
// so that everything around is tested on any CPU.
#pragma once

#ifdef __AMX_BF16__
#include <immintrin.h>
#endif

#include "kernels/jobs.hpp"
#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

constexpr int kTileRows = 16;

// FP32 sums: [half of the outputs][half of the columns][kTileRows][16].
constexpr int kSumsOfTile = kTileRows * 16;
constexpr int kSumsTogether = 4 * kSumsOfTile;

#ifdef __AMX_BF16__

// While it lives, this thread's matrix unit has eight tiles of full size.
class MatrixUnit {
 public:
  MatrixUnit() {
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
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;
  ~MatrixUnit() { _tile_release(); }
};

// sums (+)= weights * inputs over `steps` steps, each of [2][kTileRows] cells of weights and as many of inputs.
inline MEZZOTINT_INLINE void add_products(float* sums, bool fresh, const Cell* weights, const Cell* inputs,
                                          std::int64_t steps) {
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
    _tile_loadd(4, weights, kCellBytes);
    _tile_loadd(6, inputs, kCellBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, inputs + kTileRows, kCellBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, weights + kTileRows, kCellBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    weights += 2 * kTileRows;
    inputs += 2 * kTileRows;
  }
  _tile_stored(0, sums, kCellBytes);
  _tile_stored(1, sums + kSumsOfTile, kCellBytes);
  _tile_stored(2, sums + 2 * kSumsOfTile, kCellBytes);
  _tile_stored(3, sums + 3 * kSumsOfTile, kCellBytes);
}

#else

class MatrixUnit {
 public:
  MatrixUnit() {}   // NOLINT: as the one above, an object of it is no unused variable
  ~MatrixUnit() {}  // NOLINT
};

inline void add_tile(float* sums, const Cell* weights, const Cell* inputs) {
  const auto* const left = reinterpret_cast<const BFloat16*>(weights);
  const auto* const right = reinterpret_cast<const BFloat16*>(inputs);
  for (int row = 0; row < kTileRows; ++row) {
    for (int pair = 0; pair < 16; ++pair) {
      for (int column = 0; column < 16; ++column) {
        for (int i = 0; i < 2; ++i) {
          sums[row * 16 + column] += widen(left[row * 32 + pair * 2 + i]) * widen(right[(pair * 16 + column) * 2 + i]);
        }
      }
    }
  }
}

inline void add_products(float* sums, bool fresh, const Cell* weights, const Cell* inputs, std::int64_t steps) {
  for (int i = 0; fresh && i < kSumsTogether; ++i) {
    sums[i] = 0.0f;
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    for (int half = 0; half < 4; ++half) {
      add_tile(sums + half * kSumsOfTile, weights + (step * 2 + half / 2) * kTileRows,
               inputs + (step * 2 + half % 2) * kTileRows);
    }
  }
}

#endif

}  // namespace
}  // namespace mezzotint
