#include "engine/routes.hpp"

#include <algorithm>
#include <limits>

#include "core/error.hpp"

namespace mezzotint {
namespace {

// The planes of one channel: numbers from the first pixel of its first phase, those before that being negative.
class PhasePlanes {
 public:
  PhasePlanes(const Planes& y, const Planes& phases)
      : phases_(phases),
        stored_(phases.channels / y.channels),
        apart_(y.channels * phases.stride),
        columns_(y.abreast * image_step(phases)) {
    taken_.resize(static_cast<std::size_t>(stored_ * phases.stride));
  }

  // Where a number goes; no phase that is stored has a place for it: -1.
  [[nodiscard]] std::int64_t place(std::int64_t row, std::int64_t column) const {
    const std::int64_t phase = row % 2 * 2 + column % 2;
    const bool there = phase < stored_ && row / 2 < phases_.height && column / 2 < columns_;
    return there ? phase * apart_ + row / 2 * phases_.pitch + column / 2 : -1;
  }
  void take(std::int64_t place) {
    const std::int64_t phase = place / apart_;
    for (std::int64_t beside = 0; beside < phases_.pitch; beside += columns_) {
      taken_[static_cast<std::size_t>(phase * phases_.stride + phases_.lead + place % apart_ + beside)] = true;
    }
  }
  [[nodiscard]] std::vector<PhaseRoutes::Gap> gaps() const {
    std::vector<PhaseRoutes::Gap> found;
    const std::int64_t size = size_of(phases_.dtype);
    for (std::int64_t phase = 0; phase < stored_; ++phase) {
      const auto begin = taken_.begin() + phase * phases_.stride, end = begin + phases_.stride;
      for (auto at = std::find(begin, end, false); at != end;) {
        const auto next = std::find(at, end, true);
        found.push_back({(phase * apart_ + (at - begin) - phases_.lead) * size, (next - at) * size});
        at = std::find(next, end, false);
      }
    }
    return found;
  }
  // Behind the last channel of the last phase.
  [[nodiscard]] PhaseRoutes::Gap behind() const {
    const std::int64_t size = size_of(phases_.dtype);
    return {((stored_ - 1) * apart_ + phases_.stride - phases_.lead) * size, phases_.lead * size};
  }

 private:
  const Planes& phases_;
  std::int64_t stored_, apart_, columns_;  // from phase to phase, and of the planes of y
  std::vector<bool> taken_;
};

}  // namespace

Routes::Routes(const Planes& y, const Planes& phases) {
  if (phases.channels * phases.stride * size_of(phases.dtype) > std::numeric_limits<std::int32_t>::max()) {
    throw InvalidInput("convolution: received an image whose phases have more than 2 GiB; allowed: less");
  }
  PhasePlanes planes(y, phases);
  const std::int64_t lanes = lanes_of(y.dtype), size = size_of(y.dtype), cells = plane_cells(y);
  starts_.push_back(0);
  for (std::int64_t cell = 0; cell < cells; ++cell) {
    for (std::int64_t lane = 0; lane < lanes;) {
      const std::int64_t at = cell * lanes + lane, row = at / y.pitch;
      const std::int64_t end = std::min(lanes, lane + y.pitch - at % y.pitch);
      PhaseRoute route{};
      for (; lane < end; ++lane) {
        const std::int64_t place = planes.place(row, cell * lanes + lane - row * y.pitch);
        if (place < 0) {
          continue;
        }
        planes.take(place);
        const auto first = static_cast<std::int32_t>((place - lane / 2) * size);
        const auto bit = static_cast<std::uint16_t>(1u << (lane / 2));
        (lane % 2 ? route.odd : route.even) = first;
        (lane % 2 ? route.odd_mask : route.even_mask) |= bit;
      }
      if (route.even_mask || route.odd_mask) {
        routes_.push_back(route);
      }
    }
    starts_.push_back(static_cast<std::int32_t>(routes_.size()));
  }
  gaps_ = planes.gaps();
  behind_ = planes.behind();
}

}  // namespace mezzotint
