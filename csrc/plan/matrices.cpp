#include "plan/matrices.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

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

constexpr std::int64_t kJoinedBytes = 1 << 20;  // of level 2

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

// In which order a matrix has its columns: tap by tap where a window's joined rows may serve, else channel by channel.
struct Order {
  std::int64_t channels;
  bool by_taps;

  Order(std::int64_t summed, std::int64_t taps) : channels(summed), by_taps(taps > 1 && summed % kMatrixColumns == 0) {}
  // Of a channel and of a tap, of so many in the phase.
  [[nodiscard]] std::int64_t column(std::int64_t channel, std::int64_t tap, std::int64_t taps) const {
    return by_taps ? tap * channels + channel : channel * taps + tap;
  }
};

// The columns of a matrix whose taps and channels read `cells(channel, tap)` cells from a position's place.
template <class Cells>
MatrixColumns columns_of(const Order& order, std::vector<MatrixTap> taps, const Cells& cells) {
  MatrixColumns columns;
  const auto count = static_cast<std::int64_t>(taps.size());
  columns.offsets.resize(z(order.channels * count));
  for (std::int64_t channel = 0; channel < order.channels; ++channel) {
    for (std::int64_t tap = 0; tap < count; ++tap) {
      columns.offsets[z(order.column(channel, tap, count))] = as_offset(cells(channel, taps[z(tap)]) * kCellBytes);
    }
  }
  if (order.by_taps) {
    columns.taps = std::move(taps);
  }
  return columns;
}

// Sets what taps span.
MatrixWindow spanned(MatrixWindow window, const std::vector<MatrixTap>& taps) {
  const auto by_row = [](const MatrixTap& a, const MatrixTap& b) { return a.row < b.row; };
  const auto by_column = [](const MatrixTap& a, const MatrixTap& b) { return a.column < b.column; };
  const auto rows = std::minmax_element(taps.begin(), taps.end(), by_row);
  const auto columns = std::minmax_element(taps.begin(), taps.end(), by_column);
  window.taps = taps.data();
  window.first_row = rows.first->row;
  window.rows = rows.second->row - rows.first->row + 1;
  window.first_column = columns.first->column;
  window.columns = columns.second->column - columns.first->column + 1;
  return window;
}

// A tap of an input gradient: its phase, and its place among the phase's taps.
struct PhaseTap {
  std::int64_t phase, rank;
};

}  // namespace

Matrices::Matrices(std::int64_t outs, std::vector<MatrixColumns> phases, const MatrixWindow& window)
    : phases_(std::move(phases)) {
  const std::int64_t out_blocks = divide_up(outs, kMatrixOuts);
  for (MatrixColumns& phase : phases_) {
    const std::int64_t blocks = divide_up(static_cast<std::int64_t>(phase.offsets.size()), kMatrixColumns);
    // Weights of zero: any input that is there.
    phase.offsets.resize(z(blocks * kMatrixColumns), phase.offsets.empty() ? 0 : phase.offsets.back());
    cells_ += blocks * out_blocks * kBlockCells;
  }
  tiles_ = Scratch<Cell>(cells_);
  Cell* tiles = tiles_.get();
  for (const MatrixColumns& phase : phases_) {
    const std::int64_t blocks = static_cast<std::int64_t>(phase.offsets.size()) / kMatrixColumns;
    WeightMatrix view{tiles, phase.offsets.data(), blocks, false, {}};
    view.by_pixel = static_cast<std::int64_t>(phase.offsets.size()) >= 2 * window.channels;  // of several taps
    if (!phase.taps.empty()) {
      const MatrixWindow all = spanned(window, phase.taps);
      if (joined_cells(all, phase.positions, phase.step) * kCellBytes <= kJoinedBytes) {
        view.window = all;
      }
    }
    views_.push_back(view);
    tiles += blocks * out_blocks * kBlockCells;
  }
}

std::int64_t joined_cells(const MatrixWindow& window, std::int64_t positions, std::int64_t step) {
  return window.rows * ((positions - 1) * step + window.columns) * window.channels;
}

bool matrix_pays(std::int64_t outs, std::int64_t columns, std::int64_t nnz, std::int64_t joins) {
  const std::int64_t filled_outs = divide_up(outs, kMatrixOuts) * kMatrixOuts;
  const std::int64_t filled_columns = divide_up(columns, kMatrixColumns) * kMatrixColumns;
  return nnz * kNonzeroTime > (filled_outs + joins * kJoinTime) * filled_columns;
}

Matrices matrices_of_output(const SparseWeight& weight, const Conv& conv, const Packed& x, std::int64_t width,
                            int threads) {
  const Order order(conv.in_per_group, conv.taps());
  std::vector<MatrixTap> taps;
  for (std::int64_t ky = 0; ky < conv.kernel_h; ++ky) {
    for (std::int64_t kx = 0; kx < conv.kernel_w; ++kx) {
      taps.push_back({as_offset(ky * conv.dilation_h), as_offset(kx * conv.dilation_w)});
    }
  }
  MatrixColumns columns = columns_of(order, std::move(taps), [&](std::int64_t channel, const MatrixTap& tap) {
    return channel * x.channel + tap.row * x.row + tap.column;
  });
  columns.positions = width;
  columns.step = conv.stride_w;
  std::vector<MatrixColumns> phases;
  phases.push_back(std::move(columns));
  Matrices matrices(conv.out, std::move(phases),
                    {.channels = conv.in_per_group, .row = x.row, .channel = x.channel, .row_step = conv.stride_h});

  const Table starts = starts_of_rows(weight, conv);
  std::vector<std::int64_t> places;
  for (std::int64_t position = 0; position < conv.row(); ++position) {
    const std::int64_t channel = position / conv.taps();
    places.push_back(place_of_column(order.column(channel, position - channel * conv.taps(), conv.taps())));
  }
  const std::int64_t* const place = places.data();
  const std::int64_t column_blocks = matrices.of_phase(0).column_blocks, cells = column_blocks * kBlockCells;
  const int team = useful_threads(weight.nnz * kNonzeroCost + matrices.cells(), threads);
  with_reader(weight, [&](auto value) {
    parallel_for(divide_up(conv.out, kMatrixOuts), team, [&](std::int64_t block) {
      clear(matrices.tiles() + block * cells, cells);
      for (std::int64_t out = block * kMatrixOuts; out < std::min(conv.out, (block + 1) * kMatrixOuts); ++out) {
        std::uint16_t* const row = numbers(matrices.tiles()) + place_of_out(out, column_blocks);
        each_nonzero(weight, conv, starts, out, value,
                     [=](std::int64_t position, std::uint16_t bits) { row[place[position]] = bits; });
      }
    });
  });
  return matrices;
}

Matrices matrices_of_input_grad(const SparseWeight& weight, const Conv& conv, const Axis& vertical,
                                const Axis& horizontal, const Packed& gy, int threads) {
  const Order order(conv.out, conv.taps());
  std::vector<std::vector<MatrixTap>> taps_of_phase(z(conv.stride_h * conv.stride_w));
  std::vector<PhaseTap> taps;
  for (std::int64_t ky = 0; ky < conv.kernel_h; ++ky) {
    for (std::int64_t kx = 0; kx < conv.kernel_w; ++kx) {
      const std::int64_t phase = vertical.phase_of_tap(ky) * conv.stride_w + horizontal.phase_of_tap(kx);
      taps.push_back({phase, static_cast<std::int64_t>(taps_of_phase[z(phase)].size())});
      taps_of_phase[z(phase)].push_back(
          {as_offset(-vertical.shift_of_tap(ky)), as_offset(-horizontal.shift_of_tap(kx))});
    }
  }
  std::vector<MatrixColumns> phases;
  std::vector<std::int64_t> count_of_phase;
  for (std::int64_t phase = 0; phase < conv.stride_h * conv.stride_w; ++phase) {
    count_of_phase.push_back(static_cast<std::int64_t>(taps_of_phase[z(phase)].size()));
    phases.push_back(columns_of(order, std::move(taps_of_phase[z(phase)]), [&](std::int64_t out, const MatrixTap& tap) {
      return out * gy.channel + tap.row * gy.row + tap.column;
    }));
    phases.back().positions = phase_of(horizontal, phase % conv.stride_w).count;
  }
  Matrices matrices(conv.in(), std::move(phases),
                    {.channels = conv.out, .row = gy.row, .channel = gy.channel, .row_step = 1});

  const Table starts = starts_of_rows(weight, conv);
  // Where a nonzero goes: to the place of its input channel in the matrix of its tap's phase, and of its column there.
  std::vector<std::int64_t> place_of_position;
  Table tap_of_position;
  for (std::int64_t in = 0; in < conv.in_per_group; ++in) {
    for (std::size_t i = 0; i < taps.size(); ++i) {
      const WeightMatrix& matrix = matrices.of_phase(taps[i].phase);
      const std::int64_t begin = (matrix.tiles - matrices.tiles()) * kMatrixColumns;
      place_of_position.push_back(begin + place_of_out(in, matrix.column_blocks));
      tap_of_position.push_back(static_cast<std::int32_t>(i));
    }
  }
  parallel_ranges(matrices.cells(), useful_threads(matrices.cells(), threads),
                  [&](std::int64_t begin, std::int64_t end) { clear(matrices.tiles() + begin, end - begin); });
  std::uint16_t* const all = numbers(matrices.tiles());
  const std::int64_t* const place = place_of_position.data();
  const std::int32_t* const tap = tap_of_position.data();
  with_reader(weight, [&](auto value) {
    parallel_ranges(conv.out, useful_threads(weight.nnz * kNonzeroCost, threads), [&](auto begin, auto end) {
      std::vector<std::int64_t> place_of_tap(taps.size());
      for (std::int64_t out = begin; out < end; ++out) {
        for (std::size_t i = 0; i < taps.size(); ++i) {
          place_of_tap[i] = place_of_column(order.column(out, taps[i].rank, count_of_phase[z(taps[i].phase)]));
        }
        const std::int64_t* const column = place_of_tap.data();
        each_nonzero(weight, conv, starts, out, value, [=](std::int64_t position, std::uint16_t bits) {
          all[place[position] + column[tap[position]]] = bits;
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
