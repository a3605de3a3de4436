#include "engine/steps.hpp"

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>

#include "core/divide.hpp"
#include "engine/masks.hpp"
#include "engine/share.hpp"

namespace mezzotint {
namespace {

// A pass over planes whose cells, or rows, can be done apart: job(place, image) says what is to be done, kernel does
// units [first, last) of a channel. The tasks are shares of the units, as those of convolutions are, and
// where there are few, shares of the channels as well.
template <class Job>
class PlanePass final : public Step {
 public:
  using Kernel = void (*)(const Job&, std::int64_t channel, std::int64_t first, std::int64_t last);
  using MakeJob = std::function<Job(const RunPlace&, std::int64_t image)>;

  // y: what is written; a job is about one of its planes.
  PlanePass(Kernel Kernels::*kernel, const ArenaPlanes& y, std::int64_t units, MakeJob job)
      : kernel_(kernel), y_(y), units_(units), job_(std::move(job)) {}

  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override {
    return y_.count(place) * spans(place) * shares(place);
  }
  void work(const RunPlace& place, std::int64_t task, float* /*kept*/) const override {
    const std::int64_t span = task / shares(place);
    const Range units = share_of(units_, span % spans(place), spans(place));
    const Range channels = share_of(y_.shape.channels, task % shares(place), shares(place));
    const Job job = job_(place, span / spans(place));
    for (std::int64_t c = channels.first; c < channels.last; ++c) {
      (place.kernels->*kernel_)(job, c, units.first, units.last);
    }
  }

 private:
  [[nodiscard]] std::int64_t spans(const RunPlace& place) const {
    return std::clamp<std::int64_t>(divide_up(place.threads, y_.count(place)), 1, units_);
  }
  [[nodiscard]] std::int64_t shares(const RunPlace& place) const {
    return parts_of_each(y_.count(place) * spans(place), y_.shape.channels, place.threads);
  }

  Kernel Kernels::*kernel_;
  ArenaPlanes y_;
  std::int64_t units_;
  MakeJob job_;
};

// The row of an image in the arena; its last cell is cleared, so that what is not written is zero.
std::uint8_t* cleared_row(const RunPlace& place, const ArenaRows& rows, std::int64_t image) {
  std::uint8_t* row = rows.at(place, image);
  std::memset(row + (rows.cells - 1) * kCellBytes, 0, kCellBytes);
  return row;
}

class Flatten final : public Step {
 public:
  Flatten(const ArenaPlanes& x, const RowsOrOutput& y) : x_(x), y_(y) {}
  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override { return place.images; }
  void work(const RunPlace& place, std::int64_t image, float* /*kept*/) const override {
    const Planes x = x_.image_at(place, image);
    PlaneFlattenJob job{x, nullptr, x.dtype, x.height * x.width, x.width, 1};
    if (y_.output >= 0) {
      job.y = (*place.outputs)[static_cast<std::size_t>(y_.output)] + (place.first + image) * y_.size;
      job.y_dtype = Dtype::kFloat32;
    } else {
      job.y = cleared_row(place, y_.rows, image);
    }
    for (std::int64_t c = 0; c < x.channels; ++c) {
      place.kernels->plane_flatten(job, c);
    }
  }

 private:
  ArenaPlanes x_;
  RowsOrOutput y_;
};

class Rows final : public Step {
 public:
  Rows(Dtype dtype, std::int64_t input, std::int64_t size, const ArenaRows& y)
      : dtype_(dtype), input_(input), size_(size), y_(y) {}
  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override { return place.images; }
  void work(const RunPlace& place, std::int64_t image, float* /*kept*/) const override {
    const float* x = (*place.inputs)[static_cast<std::size_t>(input_)] + (place.first + image) * size_;
    std::uint8_t* y = cleared_row(place, y_, image);
    for (std::int64_t i = 0; i < size_; ++i) {
      dtype_ == Dtype::kBFloat16 ? narrow(x[i], reinterpret_cast<BFloat16*>(y)[i])
                                 : narrow(x[i], reinterpret_cast<float*>(y)[i]);
    }
  }

 private:
  Dtype dtype_;
  std::int64_t input_, size_;
  ArenaRows y_;
};

class Shifted final : public Step {
 public:
  Shifted(const ArenaPlanes& x, std::int64_t channels, std::vector<Shift> shifts)
      : x_(x), channels_(channels), shifts_(std::move(shifts)) {}
  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override {
    return x_.count(place) * static_cast<std::int64_t>(shifts_.size());
  }
  void work(const RunPlace& place, std::int64_t task, float* /*kept*/) const override {
    const Planes x = x_.at(place, task % x_.count(place));
    const Shift& shift = shifts_[static_cast<std::size_t>(task / x_.count(place))];
    const std::int64_t size = size_of(x.dtype), lead = x.lead * size, bytes = channels_ * x.stride * size;
    std::uint8_t* const to = x.data + shift.to * x.stride * size;
    const std::uint8_t* const from = x.data + (shift.from * x.stride + shift.column) * size;
    // What lies before the first row is behind the last row of the channels before.
    std::memset(to, 0, static_cast<std::size_t>(lead));
    std::memcpy(to + lead, from + lead, static_cast<std::size_t>(bytes - lead));
    std::memset(to + bytes, 0, static_cast<std::size_t>(lead));
  }

 private:
  ArenaPlanes x_;
  std::int64_t channels_;
  std::vector<Shift> shifts_;
};

// only: the image abreast whose pixels they are, or all of them.
constexpr std::int64_t kAll = -1;
template <class T>
void mark_pixels(const Planes& shape, std::int64_t only, Inside& inside) {
  const std::int64_t lanes = lanes_of(shape.dtype), step = image_step(shape), width = image_width(shape);
  for (std::int64_t h = 0; h < shape.height; ++h) {
    for (std::int64_t w = 0; w < shape.width; ++w) {
      if (w % step >= width || (only != kAll && w / step != only)) {
        continue;
      }
      const std::int64_t at = h * shape.pitch + w;
      narrow(1.0f, reinterpret_cast<T*>(inside.ones.get())[at]);
      inside.bits[static_cast<std::size_t>(at / lanes)] |= std::uint32_t{1} << (at % lanes);
    }
  }
}

}  // namespace

std::int64_t ArenaPlanes::count(const RunPlace& place) const {
  return divide_up(place.images, shape.abreast);
}

Planes ArenaPlanes::at(const RunPlace& place, std::int64_t number) const {
  Planes planes = shape;
  planes.data = place.arena + offset + (place.first / shape.abreast + number) % (room / shape.abreast) * shape.image;
  return planes;
}

Planes ArenaPlanes::image_at(const RunPlace& place, std::int64_t image) const {
  Planes planes = at(place, image / shape.abreast);
  planes.data += image % shape.abreast * image_step(shape) * size_of(shape.dtype);
  planes.width = image_width(shape);
  planes.abreast = 1;
  return planes;
}

std::uint8_t* ArenaRows::at(const RunPlace& place, std::int64_t image) const {
  return place.arena + offset + (place.first + image) % room * cells * kCellBytes;
}

std::shared_ptr<const Inside> inside_of(const Planes& shape, std::int64_t only) {
  using Key = std::array<std::int64_t, 6>;
  static std::mutex mutex;
  static std::map<Key, std::weak_ptr<const Inside>> known;
  const std::lock_guard lock(mutex);
  std::weak_ptr<const Inside>& entry =
      known[{static_cast<std::int64_t>(shape.dtype), shape.height, shape.width, shape.pitch, shape.abreast, only}];
  std::shared_ptr<const Inside> found = entry.lock();
  if (!found) {
    const std::int64_t cells = plane_cells(shape);
    auto made = std::make_shared<Inside>();
    made->ones = Scratch<Cell>(cells);
    made->bits.resize(static_cast<std::size_t>(cells));
    std::memset(made->ones.get(), 0, static_cast<std::size_t>(cells * kCellBytes));
    shape.dtype == Dtype::kBFloat16 ? mark_pixels<BFloat16>(shape, only, *made)
                                    : mark_pixels<float>(shape, only, *made);
    entry = found = std::move(made);
  }
  return found;
}

std::unique_ptr<Step> make_split(const SplitSource& x, std::int64_t stride_h, std::int64_t stride_w,
                                 const ArenaPlanes& y, float fill) {
  const auto job = [=](const RunPlace& place, std::int64_t image) {
    PlaneSplitJob job{};
    if (x.input >= 0) {
      const std::int64_t size = x.channels * x.height * x.width;
      job.x = (*place.inputs)[static_cast<std::size_t>(x.input)] + (place.first + image) * size;
      job.x_dtype = Dtype::kFloat32;
      job.channel = x.height * x.width;
      job.row = x.width;
    } else {
      const Planes from = x.planes.at(place, image);
      job.x = pixels_of(from, 0, 0);
      job.x_dtype = from.dtype;
      job.in_planes = true;
      job.channel = from.stride;
      job.row = from.pitch;
    }
    job.channels = x.channels;
    job.height = x.height;
    job.width = x.width;
    job.column = 1;
    job.stride_h = stride_h;
    job.stride_w = stride_w;
    job.y = y.at(place, image);
    job.fill = fill;
    return job;
  };
  return std::make_unique<PlanePass<PlaneSplitJob>>(&Kernels::plane_split, y, plane_cells(y.shape), job);
}

std::unique_ptr<Step> make_shift(const ArenaPlanes& x, std::int64_t channels, const std::vector<Shift>& shifts) {
  return std::make_unique<Shifted>(x, channels, shifts);
}

std::unique_ptr<Step> make_max(const ArenaPlanes& x, const ArenaPlanes& y, bool halved,
                               const std::vector<std::int64_t>& tap_offsets) {
  std::vector<std::int32_t> bytes;
  for (const std::int64_t offset : tap_offsets) {
    bytes.push_back(static_cast<std::int32_t>(offset * size_of(x.shape.dtype)));
  }
  const auto job = [x, y, halved, bytes, inside = inside_of(y.shape)](const RunPlace& place, std::int64_t image) {
    const auto taps = static_cast<std::int64_t>(bytes.size());
    return PlaneMaxJob{x.at(place, image), y.at(place, image), halved, bytes.data(), taps, inside->view()};
  };
  return std::make_unique<PlanePass<PlaneMaxJob>>(&Kernels::plane_max, y, plane_cells(y.shape), job);
}

std::unique_ptr<Step> make_product_of_planes(const ArenaPlanes& x, const ArenaPlanes& factor, const ArenaPlanes& y,
                                             Activation after) {
  const auto job = [=, inside = inside_of(y.shape)](const RunPlace& place, std::int64_t image) {
    const bool one_factor = factor.shape.height * factor.shape.width * factor.shape.abreast == 1;
    const Planes by = factor.at(place, image * y.shape.abreast / factor.shape.abreast);
    return PlaneProductJob{x.at(place, image), by, y.at(place, image), one_factor, after, inside->view()};
  };
  return std::make_unique<PlanePass<PlaneProductJob>>(&Kernels::plane_product, y, plane_cells(y.shape), job);
}

std::unique_ptr<Step> make_spread(const ArenaPlanes& x, const ArenaPlanes& y, std::int64_t factor_h,
                                  std::int64_t factor_w) {
  const auto job = [=](const RunPlace& place, std::int64_t image) {
    return PlaneSpreadJob{x.at(place, image), y.at(place, image), factor_h, factor_w};
  };
  return std::make_unique<PlanePass<PlaneSpreadJob>>(&Kernels::plane_spread, y, x.shape.height, job);
}

std::unique_ptr<Step> make_average(const ArenaPlanes& x, const ArenaPlanes& y) {
  std::vector<std::shared_ptr<const Inside>> inside;
  for (std::int64_t image = 0; image < x.shape.abreast; ++image) {
    inside.push_back(inside_of(x.shape, image));
  }
  const auto job = [=](const RunPlace& place, std::int64_t image) {
    const std::int64_t beside = image % x.shape.abreast;
    const Planes from = x.at(place, image / x.shape.abreast);
    return PlaneAverageJob{from, y.at(place, image), inside[static_cast<std::size_t>(beside)]->ones.get()};
  };
  constexpr std::int64_t kWhole = 1;
  return std::make_unique<PlanePass<PlaneAverageJob>>(&Kernels::plane_average, y, kWhole, job);
}

std::unique_ptr<Step> make_flatten(const ArenaPlanes& x, const RowsOrOutput& y) {
  return std::make_unique<Flatten>(x, y);
}

std::unique_ptr<Step> make_rows(Dtype dtype, std::int64_t input, std::int64_t size, const ArenaRows& y) {
  return std::make_unique<Rows>(dtype, input, size, y);
}

}  // namespace mezzotint
