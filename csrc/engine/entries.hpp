// How do a convolution's weights become what its kernels read? Pairs of nonzeros of each output channel, all weights of
// groups of output channels, those with output channels in the lanes, or all as a matrix.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "core/divide.hpp"
#include "core/error.hpp"
#include "engine/steps.hpp"
#include "kernels/plane_jobs.hpp"

namespace mezzotint {

inline std::uint32_t joined(float first, float second) {
  BFloat16 low, high;
  narrow(first, low);
  narrow(second, high);
  return low.bits | static_cast<std::uint32_t>(high.bits) << 16;
}

inline void set_weights(HalfPairEntry& entry, float first, float second) {
  entry.weights = joined(first, second);
}
inline void set_weights(PairEntry& entry, float first, float second) {
  entry.first_weight = first;
  entry.second_weight = second;
}
inline void set_weights(HalfGroupEntry& entry, int channel, float first, float second) {
  entry.weights[channel] = joined(first, second);
}
inline void set_weights(GroupEntry& entry, int channel, float first, float second) {
  entry.first_weights[channel] = first;
  entry.second_weights[channel] = second;
}

inline float value_at(const SparseWeight& weight, std::int64_t k) {
  return static_cast<const float*>(weight.values)[k * weight.stride];
}

inline std::int32_t offset_of(const ConvStep& s, std::int64_t index, std::int64_t size) {
  const std::int64_t out = index / s.conv.row(), within = index % s.conv.row();
  const std::int64_t channel = out / s.conv.out_per_group() * s.conv.in_per_group + within / s.conv.taps();
  const std::int64_t tap = within % s.conv.taps();
  const std::int64_t numbers = s.input_offsets.empty()
                                   ? channel * s.x.shape.stride + s.tap_offsets[static_cast<std::size_t>(tap)]
                                   : s.input_offsets[static_cast<std::size_t>(within)];
  const std::int64_t bytes = numbers * size;
  if (std::abs(bytes) > std::numeric_limits<std::int32_t>::max()) {
    throw InvalidInput("convolution: received an image of more than 2 GiB; allowed: less");
  }
  return static_cast<std::int32_t>(bytes);
}

// Where the nonzeros of each output channel begin.
inline std::vector<std::int64_t> starts_of(const ConvStep& s) {
  const auto* const end = s.weight.indices + s.weight.nnz;
  std::vector<std::int64_t> starts{0};
  for (std::int64_t out = 1; out <= s.conv.out; ++out) {
    starts.push_back(std::lower_bound(s.weight.indices + starts.back(), end, out * s.conv.row()) - s.weight.indices);
  }
  return starts;
}

// Entries by output channel, or by group of them.
template <class Entry>
struct EntryList {
  std::vector<Entry> entries;
  std::vector<std::int32_t> segments;
  std::vector<std::int32_t> channels;  // input channel of an entry's first number

  void close() { segments.push_back(static_cast<std::int32_t>(entries.size())); }
};

template <class T, class Entry>
EntryList<Entry> pairs_of(const ConvStep& s, const std::vector<std::int64_t>& starts) {
  EntryList<Entry> list;
  list.entries.reserve(static_cast<std::size_t>((s.weight.nnz + s.conv.out) / 2));
  list.close();
  for (std::size_t out = 0; out + 1 < starts.size(); ++out) {
    for (std::int64_t k = starts[out]; k < starts[out + 1]; k += 2) {
      const bool alone = k + 1 == starts[out + 1];
      Entry entry{};
      entry.first = offset_of(s, s.weight.indices[k], sizeof(T));
      entry.second = alone ? entry.first : offset_of(s, s.weight.indices[k + 1], sizeof(T));
      set_weights(entry, value_at(s.weight, k), alone ? 0.0f : value_at(s.weight, k + 1));
      list.entries.push_back(entry);
      list.channels.push_back(static_cast<std::int32_t>(s.weight.indices[k] % s.conv.row() / s.conv.taps()));
    }
    list.close();
  }
  return list;
}

// All weights of a convolution of one group of input channels, zeros included.
template <class T, class Entry>
EntryList<Entry> groups_of(const ConvStep& s, const std::vector<std::int64_t>& starts) {
  const std::int64_t row = s.conv.row();
  EntryList<Entry> list;
  list.close();
  std::vector<float> dense(static_cast<std::size_t>(kGroup * (row + 1)));
  for (std::int64_t first = 0; first < s.conv.out; first += kGroup) {
    std::fill(dense.begin(), dense.end(), 0.0f);
    for (std::int64_t out = first; out < std::min(first + kGroup, s.conv.out); ++out) {
      const auto at = static_cast<std::size_t>(out);
      for (std::int64_t k = starts[at]; k < starts[at + 1]; ++k) {
        const std::int64_t place = (out - first) * (row + 1) + s.weight.indices[k] % row;
        dense[static_cast<std::size_t>(place)] = value_at(s.weight, k);
      }
    }
    for (std::int64_t i = 0; i < row; i += 2) {
      Entry entry{};
      entry.first = offset_of(s, i, sizeof(T));
      entry.second = i + 1 < row ? offset_of(s, i + 1, sizeof(T)) : entry.first;
      for (int o = 0; o < kGroup; ++o) {
        const auto place = static_cast<std::size_t>(o * (row + 1) + i);
        set_weights(entry, o, dense[place], dense[place + 1]);
      }
      list.entries.push_back(entry);
    }
    list.close();
  }
  return list;
}

// Whether a convolution is of windows of three rows and columns, each on one channel, whose columns are neighbours.
inline bool has_windows(const ConvStep& s) {
  bool neighbours = s.conv.in_per_group == 1 && s.conv.kernel_h == 3 && s.conv.kernel_w == 3;
  for (std::size_t row = 0; neighbours && row < 9; row += 3) {
    const std::int64_t middle = s.tap_offsets[row + 1];
    neighbours = s.tap_offsets[row] == middle - 1 && s.tap_offsets[row + 2] == middle + 1;
  }
  return neighbours;
}

inline void set_weight(WindowEntry& entry, std::int64_t tap, float value) {
  entry.weights[tap / 3][tap % 3] = value;
}
inline void set_weight(HalfWindowEntry& entry, std::int64_t tap, float value) {
  narrow(value, entry.weights[tap / 3][tap % 3]);
}

// The windows of each output channel, zeros included.
template <class T, class Entry>
EntryList<Entry> windows_of(const ConvStep& s, const std::vector<std::int64_t>& starts) {
  EntryList<Entry> list;
  list.close();
  for (std::int64_t out = 0; out < s.conv.out; ++out) {
    Entry entry{};
    for (std::int64_t row = 0; row < 3; ++row) {
      entry.offsets[row] = offset_of(s, out * s.conv.row() + 3 * row + 1, sizeof(T));
    }
    const auto at = static_cast<std::size_t>(out);
    for (std::int64_t k = starts[at]; k < starts[at + 1]; ++k) {
      set_weight(entry, s.weight.indices[k] % s.conv.row(), value_at(s.weight, k));
    }
    list.entries.push_back(entry);
    list.close();
  }
  return list;
}

// All weights with output channels in the lanes, or for a matrix unit.
struct LaneWeights {
  std::vector<Cell> cells;            // [blocks][inputs]
  std::vector<std::int32_t> offsets;  // of the inputs, in bytes
};

inline LaneWeights in_lanes(const EntryList<GroupEntry>& groups, std::int64_t inputs) {
  static_assert(kLaneChannels % kGroup == 0);
  const auto count = static_cast<std::int64_t>(groups.segments.size()) - 1;
  const std::int64_t entries = (inputs + 1) / 2;  // of a group
  LaneWeights found;
  for (std::int64_t i = 0; i < inputs; ++i) {
    const GroupEntry& entry = groups.entries[static_cast<std::size_t>(i / 2)];
    found.offsets.push_back(i % 2 ? entry.second : entry.first);
  }
  constexpr std::int64_t kGroups = kLaneChannels / kGroup;
  found.cells.resize(static_cast<std::size_t>((count + kGroups - 1) / kGroups * inputs));
  for (std::int64_t group = 0; group < count; ++group) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      const GroupEntry& entry = groups.entries[static_cast<std::size_t>(group * entries + i / 2)];
      const float* const from = i % 2 ? entry.second_weights : entry.first_weights;
      Cell& cell = found.cells[static_cast<std::size_t>(group / kGroups * inputs + i)];
      std::memcpy(cell.bytes + group % kGroups * static_cast<std::int64_t>(sizeof(float) * kGroup), from,
                  sizeof(float) * kGroup);
    }
  }
  return found;
}

// All weights for a matrix unit: [blocks of outputs][blocks of inputs][2][16] cells.
inline LaneWeights in_matrices(const ConvStep& s, const std::vector<std::int64_t>& starts) {
  const std::int64_t row = s.conv.row(), blocks = divide_up(row, kMatrixColumns);
  LaneWeights found;
  for (std::int64_t i = 0; i < blocks * kMatrixColumns; ++i) {
    found.offsets.push_back(offset_of(s, std::min(i, row - 1), sizeof(BFloat16)));  // beyond the last, weights are zero
  }
  found.cells.resize(static_cast<std::size_t>(divide_up(s.conv.out, kMatrixOuts) * blocks * kMatrixOuts));
  for (std::int64_t out = 0; out < s.conv.out; ++out) {
    const auto at = static_cast<std::size_t>(out);
    for (std::int64_t k = starts[at]; k < starts[at + 1]; ++k) {
      const std::int64_t input = s.weight.indices[k] % row;
      const std::int64_t cell = (out / kMatrixOuts * blocks + input / kMatrixColumns) * kMatrixOuts + out % kMatrixOuts;
      BFloat16 value;
      narrow(value_at(s.weight, k), value);
      std::memcpy(found.cells[static_cast<std::size_t>(cell)].bytes + input % kMatrixColumns * 2, &value, sizeof value);
    }
  }
  return found;
}

}  // namespace mezzotint
