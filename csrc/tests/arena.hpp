// Where do the tested steps of a program find their memory? In an arena full of NaN, with planes and rows of any
// geometry.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "engine/steps.hpp"
#include "runtime/scratch.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kMargin = 1 << 14;

inline std::int64_t up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// An arena that is filled with NaN, so that a number that should have been written shows.
class Arena {
 public:
  explicit Arena(Dtype dtype) : dtype_(dtype), memory_(1 << 22) {
    std::fill(memory_.get(), memory_.get() + (1 << 22), std::uint8_t{0xff});
  }
  ArenaPlanes planes(std::int64_t images, std::int64_t channels, std::int64_t height, std::int64_t width,
                     std::int64_t pitch, std::int64_t border) {
    const std::int64_t lanes = lanes_of(dtype_);
    ArenaPlanes made{used_, {nullptr, dtype_, 0, channels, height, width, pitch, up(border, lanes), 0}};
    made.shape.stride = (made.shape.lead + plane_cells(made.shape) * lanes) + lanes;
    made.shape.image = image_bytes(made.shape);
    used_ += images * made.shape.image;
    return made;
  }
  ArenaRows rows(std::int64_t images, std::int64_t size) {
    const ArenaRows made{used_, up(size, lanes_of(dtype_)) / lanes_of(dtype_)};
    used_ += images * made.cells * kCellBytes;
    return made;
  }
  [[nodiscard]] std::uint8_t* get() const { return memory_.get() + kMargin; }

 private:
  Dtype dtype_;
  Scratch<std::uint8_t> memory_;
  std::int64_t used_ = 0;
};

inline std::vector<float> numbers(const OwnedTensor& tensor) {
  const Tensor& t = tensor.view();
  std::vector<float> found;
  for (std::int64_t i = 0; i < t.n * t.c * t.h * t.w; ++i) {
    found.push_back(static_cast<float>(tensor.get(i / t.w / t.h / t.c, i / t.w / t.h % t.c, i / t.w % t.h, i % t.w)));
  }
  return found;
}

inline void run(const Step& step, const RunPlace& place) {
  const std::int64_t tasks = step.tasks(place);
  const Scratch<float> kept(step.kept_floats(*place.kernels));
  for (std::int64_t task = tasks; task-- > 0;) {  // in any order
    step.work(place, task, kept.get());
  }
}

}  // namespace mezzotint::tests
