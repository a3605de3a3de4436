// How does an input gradient with a stride become plain gathers? Position h of the input received contributions from
// those taps k with (h + before - k * dilation) divisible by the stride; the positions fall into `stride` phases, and
// within a phase both the taps and the steps through the output gradient are regular.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mezzotint {

// One axis of a convolution.
struct Axis {
  std::int64_t input = 0, output = 0, kernel = 1, stride = 1, dilation = 1, before = 0;

  [[nodiscard]] std::int64_t phase_of_tap(std::int64_t tap) const { return tap * dilation % stride; }
  // How far before a phase's origin the tap reads.
  [[nodiscard]] std::int64_t shift_of_tap(std::int64_t tap) const { return tap * dilation / stride; }
};

// The input positions first, first + stride, ...; the tap of shift 0 reads output position origin at the first of
// them, origin + 1 at the second, and so on.
struct Phase {
  std::int64_t first = 0, count = 0, origin = 0;
};

inline Phase phase_of(const Axis& axis, std::int64_t phase) {
  const std::int64_t first = ((phase - axis.before) % axis.stride + axis.stride) % axis.stride;
  const std::int64_t count = first < axis.input ? (axis.input - first + axis.stride - 1) / axis.stride : 0;
  return {first, count, (first + axis.before - phase) / axis.stride};
}

// Positions that the gathers read before 0 and behind the last of the output gradient.
struct Reach {
  std::int64_t before = 0, after = 0;
};

inline Reach reach_of(const Axis& axis) {
  Reach reach;
  for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
    const Phase phase = phase_of(axis, axis.phase_of_tap(tap));
    if (phase.count > 0) {
      const std::int64_t first_read = phase.origin - axis.shift_of_tap(tap);
      reach.before = std::max(reach.before, -first_read);
      reach.after = std::max(reach.after, first_read + phase.count - axis.output);
    }
  }
  return reach;
}

}  // namespace mezzotint
