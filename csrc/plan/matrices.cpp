#include "plan/matrices.hpp"

#include <algorithm>
#include <cstring>

#include "core/divide.hpp"
#include "plan/rows.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

using Table = std::vector<std::int32_t>;

// What a gather by vectors takes for a nonzero, and what joining a column's inputs takes, in the time that the matrix
// unit takes for a weight, zero or not (measured; see docs/decisions/0045).
constexpr std::int64_t kNonzeroTime = 16;
constexpr std::int64_t kJoinTime = 14;

constexpr std::int64_t kBlockCells = 2 * 16;  // of 32 outputs and 32 columns

std::size_t z(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

std::uint16_t upper_half(float value) {
  return static_cast<std::uint16_t>(bits_of(value) >> 16);
}

// Calls put(position in its row, value in BF16) for every nonzero of a row of the weight.
template <class Value, class Put>
void each_nonzero(const SparseWeight& weight, const Conv& conv, const Table& starts, std::int64_t row,
                  const Value value, const Put& put) {
  for (std::int64_t k = starts[z(row)]; k < starts[z(row + 1)]; ++k) {
    put(position_in_row(weight, conv, row, k), upper_half(value(k)));
  }
}

void clear(Cell* cells, std::int64_t count) {
  std::memset(static_cast<void*>(cells), 0, z(count * kCellBytes));
}

// Where the number of an output (or of a column) lies in a matrix of so many column blocks, in numbers.
std::int64_t place_of_out(std::int64_t out, std::int64_t column_blocks) {
  return (out / kMatrixOuts * column_blocks * kBlockCells + out % kMatrixOuts) * kMatrixColumns;
}
std::int64_t place_of_column(std::int64_t column) {
  return column / kMatrixColumns * kBlockCells * kMatrixColumns + column % kMatrixColumns;
}

std::uint16_t* numbers(Cell* cells) {
  return reinterpret_cast<std::uint16_t*>(cells);
}

// A tap of an input gradient: its phase, its place among the phase's taps, and how far before the phase's origin it
// reads.
struct PhaseTap {
  std::int64_t phase, rank;
  std::int32_t shift;
};

// Where the nonzeros of an input gradient's matrices go: those of a position in a row to `of_position`, the input
// channel's place in the matrix of the tap's phase, and from there to the place of the column.
struct Columns {
  std::vector<PhaseTap> taps;
  std::vector<std::int64_t> taps_of_phase;
  std::vector<std::int64_t> of_position;
  Table tap_of_position;
};

Columns columns_of(const Conv& conv, const Axis& vertical, const Axis& horizontal, const Packed& gy) {
  Columns columns;
  columns.taps_of_phase.assign(z(conv.stride_h * conv.stride_w), 0);
  for (std::int64_t ky = 0; ky < conv.kernel_h; ++ky) {
    for (std::int64_t kx = 0; kx < conv.kernel_w; ++kx) {
      const std::int64_t phase = vertical.phase_of_tap(ky) * conv.stride_w + horizontal.phase_of_tap(kx);
      const std::int64_t shift = vertical.shift_of_tap(ky) * gy.row + horizontal.shift_of_tap(kx);
      columns.taps.push_back({phase, columns.taps_of_phase[z(phase)]++, as_offset(shift)});
    }
  }
  return columns;
}

std::vector<Table> offsets_of(const Conv& conv, const Columns& columns, const Packed& gy) {
  std::vector<Table> offsets(columns.taps_of_phase.size());
  for (std::int64_t out = 0; out < conv.out; ++out) {
    for (const PhaseTap& tap : columns.taps) {
      offsets[z(tap.phase)].push_back(as_offset((out * gy.channel - tap.shift) * kCellBytes));
    }
  }
  return offsets;
}

void find_places(const Conv& conv, const Matrices& matrices, Columns& columns) {
  for (std::int64_t in = 0; in < conv.in_per_group; ++in) {
    for (std::int64_t i = 0; i < conv.taps(); ++i) {
      const WeightMatrix& matrix = matrices.of_phase(columns.taps[z(i)].phase);
      const std::int64_t start = (matrix.tiles - matrices.tiles()) * kMatrixColumns;
      columns.of_position.push_back(start + place_of_out(in, matrix.column_blocks));
      columns.tap_of_position.push_back(static_cast<std::int32_t>(i));
    }
  }
}

}  // namespace

Matrices::Matrices(std::int64_t outs, const std::vector<Table>& offsets, bool by_pixel) {
  const std::int64_t out_blocks = divide_up(outs, kMatrixOuts);
  std::int64_t columns = 0;
  for (const Table& phase : offsets) {
    columns += divide_up(static_cast<std::int64_t>(phase.size()), kMatrixColumns) * kMatrixColumns;
  }
  cells_ = columns / kMatrixColumns * out_blocks * kBlockCells;
  tiles_ = Scratch<Cell>(cells_);
  offsets_.reserve(z(columns));
  Cell* tiles = tiles_.get();
  for (const Table& phase : offsets) {
    const std::int64_t blocks = divide_up(static_cast<std::int64_t>(phase.size()), kMatrixColumns);
    views_.push_back({tiles, offsets_.data() + offsets_.size(), blocks, by_pixel});
    tiles += blocks * out_blocks * kBlockCells;
    offsets_.insert(offsets_.end(), phase.begin(), phase.end());
    const std::size_t filled = z(divide_up(static_cast<std::int64_t>(offsets_.size()), kMatrixColumns)) * kMatrixColumns;
    offsets_.resize(filled, offsets_.empty() ? 0 : offsets_.back());  // weights of zero: any input that is there
  }
}

bool matrix_pays(std::int64_t outs, std::int64_t columns, std::int64_t nnz) {
  const std::int64_t filled_outs = divide_up(outs, kMatrixOuts) * kMatrixOuts;
  const std::int64_t filled_columns = divide_up(columns, kMatrixColumns) * kMatrixColumns;
  return nnz * kNonzeroTime > (filled_outs + kJoinTime) * filled_columns;
}

Matrices matrices_of_output(const SparseWeight& weight, const Conv& conv, const Packed& x, int threads) {
  Table offsets;
  offsets.reserve(z(conv.row()));
  for (std::int64_t channel = 0; channel < conv.in_per_group; ++channel) {
    for (std::int64_t ky = 0; ky < conv.kernel_h; ++ky) {
      for (std::int64_t kx = 0; kx < conv.kernel_w; ++kx) {
        const std::int64_t cells = channel * x.channel + ky * conv.dilation_h * x.row + kx * conv.dilation_w;
        offsets.push_back(as_offset(cells * kCellBytes));
      }
    }
  }
  Matrices matrices(conv.out, {offsets}, conv.taps() > 1);
  const Table starts = starts_of_rows(weight, conv);
  const std::int64_t column_blocks = matrices.of_phase(0).column_blocks, cells = column_blocks * kBlockCells;
  const int team = useful_threads(weight.nnz * kNonzeroCost + matrices.cells(), threads);
  with_reader(weight, [&](auto value) {
    parallel_for(divide_up(conv.out, kMatrixOuts), team, [&](std::int64_t block) {
      clear(matrices.tiles() + block * cells, cells);
      for (std::int64_t out = block * kMatrixOuts; out < std::min(conv.out, (block + 1) * kMatrixOuts); ++out) {
        std::uint16_t* const row = numbers(matrices.tiles()) + place_of_out(out, column_blocks);
        each_nonzero(weight, conv, starts, out, value, [row](std::int64_t position, std::uint16_t bits) {
          row[place_of_column(position)] = bits;
        });
      }
    });
  });
  return matrices;
}

Matrices matrices_of_input_grad(const SparseWeight& weight, const Conv& conv, const Axis& vertical,
                                const Axis& horizontal, const Packed& gy, int threads) {
  Columns columns = columns_of(conv, vertical, horizontal, gy);
  Matrices matrices(conv.in(), offsets_of(conv, columns, gy), conv.taps() > 1);
  find_places(conv, matrices, columns);
  const Table starts = starts_of_rows(weight, conv);
  parallel_ranges(matrices.cells(), useful_threads(matrices.cells(), threads),
                  [&](std::int64_t begin, std::int64_t end) { clear(matrices.tiles() + begin, end - begin); });
  std::uint16_t* const all = numbers(matrices.tiles());
  const std::int64_t* const of_position = columns.of_position.data();
  const std::int32_t* const tap_of_position = columns.tap_of_position.data();
  with_reader(weight, [&](auto value) {
    parallel_ranges(conv.out, useful_threads(weight.nnz * kNonzeroCost, threads), [&](auto begin, auto end) {
      std::vector<std::int64_t> of_tap(columns.taps.size());
      for (std::int64_t out = begin; out < end; ++out) {
        for (std::size_t i = 0; i < of_tap.size(); ++i) {
          const PhaseTap& tap = columns.taps[i];
          of_tap[i] = place_of_column(out * columns.taps_of_phase[z(tap.phase)] + tap.rank);
        }
        const std::int64_t* const column = of_tap.data();
        each_nonzero(weight, conv, starts, out, value, [=](std::int64_t position, std::uint16_t bits) {
          all[of_position[position] + column[tap_of_position[position]]] = bits;
        });
      }
    });
  });
  return matrices;
}

TileShape matrix_tile(std::int64_t columns) {
  columns = std::max<std::int64_t>(1, columns);
  return {1, divide_up(columns, divide_up(columns, kMatrixPixels))};
}

}  // namespace mezzotint
