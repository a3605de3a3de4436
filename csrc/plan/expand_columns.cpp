// How are nonzeros expanded in transposed order, for the input gradient? Each is put under its input channel, stride
// phase and part of the output channels.
#include <algorithm>
#include <functional>
#include <numeric>

#include "plan/expand.hpp"
#include "plan/read_value.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

using Table = std::vector<std::int32_t>;

std::size_t z(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// Quotients of 31-bit numbers by a constant, by one multiplication (Granlund and Montgomery, 1994).
class Divider {
 public:
  explicit Divider(std::int64_t divisor) {
    while ((std::int64_t{1} << bits_) < divisor) {
      ++bits_;
    }
    factor_ = (std::uint64_t{1} << (31 + bits_)) / static_cast<std::uint64_t>(divisor) + 1;
  }
  [[nodiscard]] std::int64_t quotient(std::int32_t number) const {
    return static_cast<std::int64_t>((static_cast<std::uint64_t>(number) * factor_) >> (31 + bits_));
  }

 private:
  int bits_ = 0;
  std::uint64_t factor_;
};

// The addressing of an input gradient, worked out once a call so that a nonzero costs table look-ups only. A segment
// is numbered (phase * input channels + channel) * parts + part; `position` is a nonzero's place in its row.
struct Columns {
  std::int64_t parts, phases;
  Table segment_of_position;  // what the position adds to the segment's number
  Table segment_of_out;       // what the output channel adds
  Table phase_of_tap;
  Table shift_of_tap;  // cells by which the tap reads before its phase's origin
};

Columns columns_of(const Conv& conv, const Axis& vertical, const Axis& horizontal, const Packed& gy,
                   std::int64_t part) {
  Columns columns{parts_of(conv.out_per_group(), part), conv.stride_h * conv.stride_w, {}, {}, {}, {}};
  for (std::int64_t ky = 0; ky < conv.kernel_h; ++ky) {
    for (std::int64_t kx = 0; kx < conv.kernel_w; ++kx) {
      const std::int64_t phase = vertical.phase_of_tap(ky) * conv.stride_w + horizontal.phase_of_tap(kx);
      columns.phase_of_tap.push_back(as_offset(phase));
      const std::int64_t shift = vertical.shift_of_tap(ky) * gy.row + horizontal.shift_of_tap(kx);
      as_offset(shift * kCellBytes);  // refuses what an entry cannot hold
      columns.shift_of_tap.push_back(static_cast<std::int32_t>(shift));
    }
  }
  columns.segment_of_position.reserve(z(conv.row()));
  for (std::int64_t in = 0; in < conv.in_per_group; ++in) {
    for (const std::int64_t phase : columns.phase_of_tap) {
      columns.segment_of_position.push_back(as_offset((phase * conv.in() + in) * columns.parts));
    }
  }
  for (std::int64_t out = 0; out < conv.out; ++out) {
    const std::int64_t group = out / conv.out_per_group();
    const std::int64_t in_part = (out - group * conv.out_per_group()) / part;
    columns.segment_of_out.push_back(as_offset(group * conv.in_per_group * columns.parts + in_part));
  }
  as_offset(conv.out * gy.channel * kCellBytes);
  return columns;
}

// Counts the nonzeros [begin, end) of every segment; the first of them is in row `out` of the weight, or behind it.
Table counts_within(const SparseWeight& weight, const Conv& conv, const Columns& columns, std::int64_t out,
                    std::int64_t begin, std::int64_t end) {
  const std::int64_t row = conv.row();
  Table counts(z(columns.phases * conv.in() * columns.parts + 1), 0);
  std::int64_t first = out * row;
  for (std::int64_t k = begin; k < end; ++k) {
    for (; out < conv.out && weight.indices[k] >= first + row; first += row) {
      ++out;
    }
    const std::int64_t position = weight.indices[k] - first;
    if (position < 0 || out == conv.out) {
      refuse_indices();
    }
    ++counts[z(columns.segment_of_position[z(position)] + columns.segment_of_out[z(out)])];
  }
  return counts;
}

// Counts all of the ascending indices, rows of the weight in several pieces at a time.
Table counts_of(const SparseWeight& weight, const Conv& conv, const Columns& columns, int team) {
  const std::int64_t pieces = team == 1 ? 1 : std::min<std::int64_t>(conv.out, 2 * team);
  std::vector<std::int64_t> begins{0};
  for (std::int64_t piece = 1; piece < pieces; ++piece) {
    const std::int32_t* const from = weight.indices + begins.back();
    const std::int64_t position = conv.out * piece / pieces * conv.row();
    begins.push_back(std::lower_bound(from, weight.indices + weight.nnz, position) - weight.indices);
  }
  begins.push_back(weight.nnz);
  std::vector<Table> counts(z(pieces));
  parallel_for(pieces, team, [&](std::int64_t piece) {
    counts[z(piece)] =
        counts_within(weight, conv, columns, conv.out * piece / pieces, begins[z(piece)], begins[z(piece + 1)]);
  });
  for (std::int64_t piece = 1; piece < pieces; ++piece) {
    std::transform(counts[0].begin(), counts[0].end(), counts[z(piece)].begin(), counts[0].begin(), std::plus<>());
  }
  return std::move(counts[0]);
}

// Where an input channel (of any group) begins in the transposed order.
std::vector<std::int64_t> starts_of_inputs(const Conv& conv, const Columns& columns, const Table& counts) {
  std::vector<std::int64_t> starts(z(conv.in_per_group + 1), 0);
  for (std::size_t i = 0; i + 1 < counts.size(); ++i) {
    const std::int64_t channel = static_cast<std::int64_t>(i) / columns.parts % conv.in();
    starts[z(channel % conv.in_per_group + 1)] += counts[i];
  }
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  return starts;
}

// Puts nonzeros [begin, end) of the transposed order, those of input channel `in` of every group, into the segments of
// their channel and phase. Output channels ascend, so that the parts of a channel fill up one after the other.
// This loop is the cost of the expansion: everything it reads sits in a local.
template <class Value>
void place(const SparseWeight& weight, const Conv& conv, const Columns& columns, const Divider by_row, const Packed& gy,
           std::int64_t in, std::int64_t begin, std::int64_t end, const Value value, const GatherList& list) {
  const std::int32_t* const transposed = weight.transposed;
  const std::int32_t* const indices = weight.indices;
  const std::int32_t* const phase_of_tap = columns.phase_of_tap.data();
  const std::int32_t* const shift_of_tap = columns.shift_of_tap.data();
  const std::int64_t nnz = weight.nnz, row = conv.row(), taps = conv.taps(), channel_cells = gy.channel;
  Entry* __restrict const entries = list.entries.get();
  Table next_of_phase(z(columns.phases), 0);
  std::int32_t* __restrict const next = next_of_phase.data();
  std::int64_t group_end = 0;  // output channel
  for (std::int64_t k = begin; k < end; ++k) {
    const std::int64_t source = transposed[k];
    if (source < 0 || source >= nnz) {
      refuse_indices();
    }
    const std::int64_t out = by_row.quotient(indices[source]);
    const std::int64_t tap = indices[source] - out * row - in * taps;
    if (tap < 0 || tap >= taps || out >= conv.out) {
      refuse_indices();
    }
    if (out >= group_end) {
      const std::int64_t group = out / conv.out_per_group();
      group_end = (group + 1) * conv.out_per_group();
      for (std::int64_t phase = 0; phase < columns.phases; ++phase) {
        const std::int64_t channel = phase * conv.in() + group * conv.in_per_group + in;
        next[phase] = list.segments[z(channel * columns.parts)];
      }
    }
    const std::int64_t at = next[phase_of_tap[tap]]++;
    if (at >= nnz) {
      refuse_indices();
    }
    entries[at] = {static_cast<std::int32_t>((out * channel_cells - shift_of_tap[tap]) * kCellBytes), value(source)};
  }
}

}  // namespace

GatherList expand_input_grad(const SparseWeight& weight, const Conv& conv, const Axis& vertical, const Axis& horizontal,
                             const Packed& gy, std::int64_t part, int threads) {
  GatherList list;
  if (conv.row() == 0) {
    list.segments.assign(z(conv.stride_h * conv.stride_w * conv.in() + 1), 0);
    return list;
  }
  const Columns columns = columns_of(conv, vertical, horizontal, gy, part);
  list.parts = columns.parts;
  const int team = useful_threads(weight.nnz * kNonzeroCost, threads);
  list.segments = counts_of(weight, conv, columns, team);
  const std::vector<std::int64_t> starts = starts_of_inputs(conv, columns, list.segments);
  std::exclusive_scan(list.segments.begin(), list.segments.end(), list.segments.begin(), 0);
  list.entries = Scratch<Entry>(weight.nnz);
  const Divider by_row(conv.row());
  with_reader(weight, [&](auto value) {
    parallel_for(conv.in_per_group, team, [&](std::int64_t in) {
      place(weight, conv, columns, by_row, gy, in, starts[z(in)], starts[z(in + 1)], value, list);
    });
  });
  return list;
}

}  // namespace mezzotint
