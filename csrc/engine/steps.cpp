#include "engine/steps.hpp"

#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "engine/masks.hpp"
#include "engine/share.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kOutputsAtOnce = 24;  // of a product: what a task takes at least

// A step that does its channels one by one.
class ChannelStep : public Step {
 public:
  explicit ChannelStep(std::int64_t channels) : channels_(channels) {}
  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const final { return place.images * parts(place); }
  void work(const RunPlace& place, std::int64_t task, float* /*kept*/) const final {
    const Range range = share_of(channels_, task % parts(place), parts(place));
    do_channels(place, task / parts(place), range);
  }

 protected:
  virtual void do_channels(const RunPlace& place, std::int64_t image, Range channels) const = 0;

 private:
  [[nodiscard]] std::int64_t parts(const RunPlace& place) const {
    return parts_of_each(place.images, channels_, place.threads);
  }
  std::int64_t channels_;
};

class Split final : public ChannelStep {
 public:
  Split(SplitSource x, std::int64_t stride_h, std::int64_t stride_w, const ArenaPlanes& y, float fill)
      : ChannelStep(y.shape.channels), x_(std::move(x)), y_(y) {
    job_.channels = x_.channels;
    job_.height = x_.height;
    job_.width = x_.width;
    job_.stride_h = stride_h;
    job_.stride_w = stride_w;
    job_.fill = fill;
  }

 protected:
  void do_channels(const RunPlace& place, std::int64_t image, Range channels) const override {
    PlaneSplitJob job = job_;
    if (x_.input >= 0) {
      const std::int64_t size = x_.channels * x_.height * x_.width;
      job.x = (*place.inputs)[static_cast<std::size_t>(x_.input)] + image * size;
      job.x_dtype = Dtype::kFloat32;
      job.channel = x_.height * x_.width;
      job.row = x_.width;
    } else {
      const Planes from = x_.planes.at(place, image);
      job.x = pixels_of(from, 0, 0);
      job.x_dtype = from.dtype;
      job.in_planes = true;
      job.channel = from.stride;
      job.row = from.pitch;
    }
    job.column = 1;
    job.y = y_.at(place, image);
    for (std::int64_t c = channels.first; c < channels.last; ++c) {
      place.kernels->plane_split(job, c);
    }
  }

 private:
  SplitSource x_;
  ArenaPlanes y_;
  PlaneSplitJob job_{};
};

class Max final : public ChannelStep {
 public:
  Max(const ArenaPlanes& x, const ArenaPlanes& y, const std::vector<std::int64_t>& tap_offsets)
      : ChannelStep(y.shape.channels), x_(x), y_(y), inside_(inside_of(y.shape)) {
    for (const std::int64_t offset : tap_offsets) {
      offsets_.push_back(static_cast<std::int32_t>(offset * size_of(x.shape.dtype)));
    }
  }

 protected:
  void do_channels(const RunPlace& place, std::int64_t image, Range channels) const override {
    const PlaneMaxJob job{
        x_.at(place, image), y_.at(place, image), 1, offsets_.data(), static_cast<std::int64_t>(offsets_.size()),
        inside_->view()};
    for (std::int64_t c = channels.first; c < channels.last; ++c) {
      place.kernels->plane_max(job, c);
    }
  }

 private:
  ArenaPlanes x_, y_;
  std::vector<std::int32_t> offsets_;
  std::shared_ptr<const Inside> inside_;
};

class ProductOfPlanes final : public ChannelStep {
 public:
  ProductOfPlanes(const ArenaPlanes& x, const ArenaPlanes& factor, const ArenaPlanes& y, Activation after)
      : ChannelStep(y.shape.channels), x_(x), factor_(factor), y_(y), after_(after), inside_(inside_of(y.shape)) {}

 protected:
  void do_channels(const RunPlace& place, std::int64_t image, Range channels) const override {
    const PlaneProductJob job{x_.at(place, image),
                              factor_.at(place, image),
                              y_.at(place, image),
                              factor_.shape.height * factor_.shape.width == 1,
                              after_,
                              inside_->view()};
    for (std::int64_t c = channels.first; c < channels.last; ++c) {
      place.kernels->plane_product(job, c);
    }
  }

 private:
  ArenaPlanes x_, factor_, y_;
  Activation after_;
  std::shared_ptr<const Inside> inside_;
};

class Spread final : public ChannelStep {
 public:
  Spread(const ArenaPlanes& x, const ArenaPlanes& y, std::int64_t factor_h, std::int64_t factor_w)
      : ChannelStep(y.shape.channels), x_(x), y_(y), factor_h_(factor_h), factor_w_(factor_w) {}

 protected:
  void do_channels(const RunPlace& place, std::int64_t image, Range channels) const override {
    const PlaneSpreadJob job{x_.at(place, image), y_.at(place, image), factor_h_, factor_w_};
    for (std::int64_t c = channels.first; c < channels.last; ++c) {
      place.kernels->plane_spread(job, c);
    }
  }

 private:
  ArenaPlanes x_, y_;
  std::int64_t factor_h_, factor_w_;
};

class Average final : public ChannelStep {
 public:
  Average(const ArenaPlanes& x, const ArenaPlanes& y) : ChannelStep(y.shape.channels), x_(x), y_(y) {}

 protected:
  void do_channels(const RunPlace& place, std::int64_t image, Range channels) const override {
    const PlaneAverageJob job{x_.at(place, image), y_.at(place, image)};
    for (std::int64_t c = channels.first; c < channels.last; ++c) {
      place.kernels->plane_average(job, c);
    }
  }

 private:
  ArenaPlanes x_, y_;
};

// The row of an image in the arena; its last cell is cleared, so that what is not written is zero.
std::uint8_t* cleared_row(const RunPlace& place, const ArenaRows& rows, std::int64_t image) {
  std::uint8_t* row = place.arena + rows.offset + image * rows.cells * kCellBytes;
  std::memset(row + (rows.cells - 1) * kCellBytes, 0, kCellBytes);
  return row;
}

class Flatten final : public Step {
 public:
  Flatten(const ArenaPlanes& x, const RowsOrOutput& y) : x_(x), y_(y) {}
  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override { return place.images; }
  void work(const RunPlace& place, std::int64_t image, float* /*kept*/) const override {
    const Planes& shape = x_.shape;
    PlaneFlattenJob job{x_.at(place, image), nullptr, shape.dtype, shape.height * shape.width, shape.width, 1};
    if (y_.output >= 0) {
      job.y = (*place.outputs)[static_cast<std::size_t>(y_.output)] + image * y_.size;
      job.y_dtype = Dtype::kFloat32;
    } else {
      job.y = cleared_row(place, y_.rows, image);
    }
    for (std::int64_t c = 0; c < shape.channels; ++c) {
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
    const float* x = (*place.inputs)[static_cast<std::size_t>(input_)] + image * size_;
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

class Product final : public Step {
 public:
  Product(Dtype dtype, const ArenaRows& x, const float* weight, std::int64_t size, const std::vector<float>& bias,
          Activation after, const RowsOrOutput& y)
      : dtype_(dtype), x_(x), weight_(y.size * x.cells), bias_(bias), after_(after), y_(y) {
    std::memset(weight_.get(), 0, static_cast<std::size_t>(y.size * x.cells * kCellBytes));
    for (std::int64_t o = 0; o < y.size; ++o) {
      Cell* row = weight_.get() + o * x.cells;
      for (std::int64_t i = 0; i < size; ++i) {
        dtype == Dtype::kBFloat16 ? narrow(weight[o * size + i], reinterpret_cast<BFloat16*>(row)[i])
                                  : narrow(weight[o * size + i], reinterpret_cast<float*>(row)[i]);
      }
    }
  }
  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override {
    return parts_of_each(1, y_.size / kOutputsAtOnce, place.threads);
  }
  void work(const RunPlace& place, std::int64_t task, float* /*kept*/) const override {
    const Range outputs = share_of(y_.size, task, tasks(place));
    RowsProductJob job{};
    job.dtype = dtype_;
    job.x = reinterpret_cast<const Cell*>(place.arena + x_.offset);
    job.weight = weight_.get();
    job.cells = x_.cells;
    job.rows = place.images;
    job.outputs = y_.size;
    job.bias = bias_.data();
    job.after = after_;
    if (y_.output >= 0) {
      job.y = (*place.outputs)[static_cast<std::size_t>(y_.output)];
      job.y_dtype = Dtype::kFloat32;
      job.y_row = y_.size;
    } else {
      job.y = place.arena + y_.rows.offset;
      job.y_dtype = dtype_;
      job.y_row = y_.rows.cells * kCellBytes / size_of(dtype_);
      for (std::int64_t n = 0; task == 0 && n < place.images; ++n) {
        clear_spare(static_cast<std::uint8_t*>(job.y) + n * y_.rows.cells * kCellBytes);
      }
    }
    place.kernels->rows_product(job, outputs.first, outputs.last);
  }

 private:
  // Behind the last number of a row; other tasks write the numbers before.
  void clear_spare(std::uint8_t* row) const {
    const std::int64_t used = y_.size * size_of(dtype_);
    std::memset(row + used, 0, static_cast<std::size_t>(y_.rows.cells * kCellBytes - used));
  }

  Dtype dtype_;
  ArenaRows x_;
  Scratch<Cell> weight_;
  std::vector<float> bias_;
  Activation after_;
  RowsOrOutput y_;
};

template <class T>
void mark_pixels(const Planes& shape, Inside& inside) {
  const std::int64_t lanes = lanes_of(shape.dtype);
  for (std::int64_t h = 0; h < shape.height; ++h) {
    for (std::int64_t w = 0; w < shape.width; ++w) {
      const std::int64_t at = h * shape.pitch + w;
      narrow(1.0f, reinterpret_cast<T*>(inside.ones.get())[at]);
      inside.bits[static_cast<std::size_t>(at / lanes)] |= std::uint32_t{1} << (at % lanes);
    }
  }
}

}  // namespace

Planes ArenaPlanes::at(const RunPlace& place, std::int64_t image) const {
  Planes planes = shape;
  planes.data = place.arena + offset + image * shape.image;
  return planes;
}

std::shared_ptr<const Inside> inside_of(const Planes& shape) {
  using Key = std::tuple<Dtype, std::int64_t, std::int64_t, std::int64_t>;
  static std::mutex mutex;
  static std::map<Key, std::weak_ptr<const Inside>> known;
  const std::lock_guard lock(mutex);
  std::weak_ptr<const Inside>& entry = known[Key(shape.dtype, shape.height, shape.width, shape.pitch)];
  std::shared_ptr<const Inside> found = entry.lock();
  if (!found) {
    const std::int64_t cells = plane_cells(shape);
    auto made = std::make_shared<Inside>();
    made->ones = Scratch<Cell>(cells);
    made->bits.resize(static_cast<std::size_t>(cells));
    std::memset(made->ones.get(), 0, static_cast<std::size_t>(cells * kCellBytes));
    shape.dtype == Dtype::kBFloat16 ? mark_pixels<BFloat16>(shape, *made) : mark_pixels<float>(shape, *made);
    entry = found = std::move(made);
  }
  return found;
}

std::unique_ptr<Step> make_split(const SplitSource& x, std::int64_t stride_h, std::int64_t stride_w,
                                 const ArenaPlanes& y, float fill) {
  return std::make_unique<Split>(x, stride_h, stride_w, y, fill);
}

std::unique_ptr<Step> make_max(const ArenaPlanes& x, const ArenaPlanes& y,
                               const std::vector<std::int64_t>& tap_offsets) {
  return std::make_unique<Max>(x, y, tap_offsets);
}

std::unique_ptr<Step> make_product_of_planes(const ArenaPlanes& x, const ArenaPlanes& factor, const ArenaPlanes& y,
                                             Activation after) {
  return std::make_unique<ProductOfPlanes>(x, factor, y, after);
}

std::unique_ptr<Step> make_spread(const ArenaPlanes& x, const ArenaPlanes& y, std::int64_t factor_h,
                                  std::int64_t factor_w) {
  return std::make_unique<Spread>(x, y, factor_h, factor_w);
}

std::unique_ptr<Step> make_average(const ArenaPlanes& x, const ArenaPlanes& y) {
  return std::make_unique<Average>(x, y);
}

std::unique_ptr<Step> make_flatten(const ArenaPlanes& x, const RowsOrOutput& y) {
  return std::make_unique<Flatten>(x, y);
}

std::unique_ptr<Step> make_rows(Dtype dtype, std::int64_t input, std::int64_t size, const ArenaRows& y) {
  return std::make_unique<Rows>(dtype, input, size, y);
}

std::unique_ptr<Step> make_product(Dtype dtype, const ArenaRows& x, const float* weight, std::int64_t size,
                                   const std::vector<float>& bias, Activation after, const RowsOrOutput& y) {
  return std::make_unique<Product>(dtype, x, weight, size, bias, after, y);
}

}  // namespace mezzotint
