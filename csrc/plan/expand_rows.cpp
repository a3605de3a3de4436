// How are nonzeros expanded in their own order, row by row of the weight? For the output and for the weight gradient.
#include <algorithm>

#include "plan/expand.hpp"
#include "plan/read_value.hpp"
#include "plan/rows.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

using Table = std::vector<std::int32_t>;

std::size_t z(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// The addressing of an output or a weight gradient, worked out once a call. `position`: place in a row of the weight.
struct Rows {
  std::int64_t parts;
  std::int64_t part_positions;  // positions of a row that make a part
  Table offset_of_position;     // in cells, from the group's first channel of x
  Table first_of_row;           // the rows' first nonzeros
};

Table offsets_in_row(const Conv& conv, const Packed& x) {
  Table offsets;
  offsets.reserve(z(conv.row()));
  for (std::int64_t channel = 0; channel < conv.in_per_group; ++channel) {
    for (std::int64_t ky = 0; ky < conv.kernel_h; ++ky) {
      for (std::int64_t kx = 0; kx < conv.kernel_w; ++kx) {
        offsets.push_back(as_offset(channel * x.channel + ky * conv.dilation_h * x.row + kx * conv.dilation_w));
      }
    }
  }
  as_offset((conv.in() * x.channel + conv.kernel_h * conv.dilation_h * x.row) * kCellBytes);
  return offsets;
}

Rows rows_of(const SparseWeight& weight, const Conv& conv, const Packed& x, std::int64_t part) {
  return {parts_of(conv.in_per_group, part), part * conv.taps(), offsets_in_row(conv, x), starts_of_rows(weight, conv)};
}

// Calls put(k, offset) for every nonzero of a row and notes in `segments` where its parts begin.
template <class Put>
void walk_row(const SparseWeight& weight, const Conv& conv, const Packed& x, const Rows& rows, std::int64_t channel,
              Table& segments, const Put& put) {
  const auto base = static_cast<std::int32_t>(channel / conv.out_per_group() * conv.in_per_group * x.channel);
  const std::int64_t end = rows.first_of_row[z(channel + 1)];
  std::int64_t segment = channel * rows.parts;
  std::int64_t boundary = 0;  // the position at which `segment` begins
  std::int64_t k = rows.first_of_row[z(channel)];
  for (; k < end; ++k) {
    const std::int64_t position = position_in_row(weight, conv, channel, k);
    for (; position >= boundary; boundary += rows.part_positions) {
      segments[z(segment++)] = static_cast<std::int32_t>(k);
    }
    put(k, base + rows.offset_of_position[z(position)]);
  }
  std::fill(segments.begin() + segment, segments.begin() + (channel + 1) * rows.parts, static_cast<std::int32_t>(k));
}

// All rows, in parallel; returns the segments.
template <class Put>
Table walk_rows(const SparseWeight& weight, const Conv& conv, const Packed& x, const Rows& rows, int threads,
                const Put& put) {
  Table segments(z(conv.out * rows.parts + 1), static_cast<std::int32_t>(weight.nnz));
  const int team = useful_threads(weight.nnz * kNonzeroCost, threads);
  parallel_for(conv.out, team, [&](std::int64_t channel) { walk_row(weight, conv, x, rows, channel, segments, put); });
  return segments;
}

}  // namespace

GatherList expand_output(const SparseWeight& weight, const Conv& conv, const Packed& x, std::int64_t part,
                         int threads) {
  const Rows rows = rows_of(weight, conv, x, part);
  GatherList list;
  list.parts = rows.parts;
  list.entries = Scratch<Entry>(weight.nnz);
  with_reader(weight, [&](auto value) {
    const auto put = [&](std::int64_t k, std::int32_t cells) {
      list.entries[k] = {cells * static_cast<std::int32_t>(kCellBytes), value(k)};
    };
    list.segments = walk_rows(weight, conv, x, rows, threads, put);
  });
  return list;
}

SampleList expand_weight_grad(const SparseWeight& weight, const Conv& conv, const Packed& x, std::int64_t part,
                              int threads) {
  const Rows rows = rows_of(weight, conv, x, part);
  SampleList list;
  list.parts = rows.parts;
  list.offsets = Scratch<std::int32_t>(weight.nnz);
  list.segments =
      walk_rows(weight, conv, x, rows, threads, [&](std::int64_t k, std::int32_t offset) { list.offsets[k] = offset; });
  return list;
}

}  // namespace mezzotint
