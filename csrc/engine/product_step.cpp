// How does a linear layer become a step? Its weights become rows of cells, zeros included, or blocks of the nonzeros;
// which of the two is faster depends on the density, on the images that share a pass over the weights, and on the
// machine.
#include <cstring>

#include "core/error.hpp"
#include "engine/share.hpp"
#include "engine/steps.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kOutputsAtOnce = 24;  // what a task takes at least
// With more of the weights than this, their zeros cost less than gathering.
constexpr double kMostGathered = 0.5;

// The nonzeros of a matrix [outputs, size], output by output.
template <class T, class Place>
struct Blocks {
  std::vector<RowBlock<T, Place>> blocks;
  std::vector<std::int32_t> segments{0};

  Blocks(const float* weight, std::int64_t outputs, std::int64_t size) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      std::int64_t taken = 0;
      for (std::int64_t i = 0; i < size; ++i) {
        if (const float value = weight[o * size + i]; value != 0.0f) {
          if (taken % kBlock == 0) {
            blocks.emplace_back();
          }
          blocks.back().places[taken % kBlock] = static_cast<Place>(i);
          narrow(value, blocks.back().weights[taken % kBlock]);
          ++taken;
        }
      }
      segments.push_back(static_cast<std::int32_t>(blocks.size()));
    }
  }
};

template <class T, class Place>
class ProductOf final : public Step {
 public:
  ProductOf(const ArenaRows& x, const float* weight, std::int64_t size, const std::vector<float>& bias,
            Activation after, const RowsOrOutput& y)
      : x_(x), all_(y.size * x.cells), bias_(bias), after_(after), y_(y) {
    std::memset(all_.get(), 0, static_cast<std::size_t>(y.size * x.cells * kCellBytes));
    std::int64_t nonzeros = 0;
    for (std::int64_t o = 0; o < y.size; ++o) {
      T* const row = reinterpret_cast<T*>(all_.get() + o * x.cells);
      for (std::int64_t i = 0; i < size; ++i) {
        narrow(weight[o * size + i], row[i]);
        nonzeros += weight[o * size + i] != 0.0f;
      }
    }
    if (static_cast<double>(nonzeros) < kMostGathered * static_cast<double>(y.size * size)) {
      Blocks<T, Place> found(weight, y.size, size);
      blocks_ = std::move(found.blocks);
      segments_ = std::move(found.segments);
      entries_ = blocks_.data();
    }
  }

  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override {
    return parts_of_each(1, y_.size / kOutputsAtOnce, place.threads);
  }
  void work(const RunPlace& place, std::int64_t task, float* /*kept*/) const override {
    const Range outputs = share_of(y_.size, task, tasks(place));
    constexpr Dtype kDtype = sizeof(T) == sizeof(BFloat16) ? Dtype::kBFloat16 : Dtype::kFloat32;
    RowsProductJob job{};
    job.dtype = kDtype;
    job.x = reinterpret_cast<const Cell*>(x_.at(place, 0));
    if (gathers_) {
      job.blocks = entries_;
      job.segments = segments_.data();
      job.wide_places = sizeof(Place) == sizeof(std::uint32_t);
    } else {
      job.weight = all_.get();
    }
    job.cells = x_.cells;
    job.rows = place.images;
    job.outputs = y_.size;
    job.bias = bias_.data();
    job.after = after_;
    if (y_.output >= 0) {
      job.y = (*place.outputs)[static_cast<std::size_t>(y_.output)] + place.first * y_.size;
      job.y_dtype = Dtype::kFloat32;
      job.y_row = y_.size;
    } else {
      job.y = y_.rows.at(place, 0);
      job.y_dtype = kDtype;
      job.y_row = y_.rows.cells * kCellBytes / static_cast<std::int64_t>(sizeof(T));
      for (std::int64_t n = 0; task == 0 && n < place.images; ++n) {
        clear_spare(static_cast<std::uint8_t*>(job.y) + n * y_.rows.cells * kCellBytes);
      }
    }
    place.kernels->rows_product(job, outputs.first, outputs.last);
  }

  [[nodiscard]] std::vector<Choice> choices(const Kernels& /*kernels*/) const override {
    if (settled_ || !entries_) {
      return entries_ ? std::vector<Choice>{choice()} : std::vector<Choice>{};
    }
    return {{Summing::kGroups, 1, 1}, {Summing::kPairs, 1, 1}};
  }
  [[nodiscard]] Choice choice() const override {
    return entries_ ? Choice{gathers_ ? Summing::kPairs : Summing::kGroups, 1, 1} : Choice{};
  }
  void choose(Choice choice) override {
    if (settled_ || !entries_ || (choice.summing != Summing::kPairs && choice.summing != Summing::kGroups) ||
        choice.tile != 1 || choice.parts != 1) {
      throw InvalidInput("kernel of a linear layer: received one that it does not have; allowed: one of choices()");
    }
    gathers_ = choice.summing == Summing::kPairs;
  }
  [[nodiscard]] std::int64_t weight_bytes() const override {
    return gathers_ ? static_cast<std::int64_t>(blocks_.size() * sizeof(RowBlock<T, Place>)) : 0;
  }
  void settle(std::uint8_t* room) override {
    settled_ = true;
    if (gathers_) {
      std::memcpy(room, blocks_.data(), blocks_.size() * sizeof(RowBlock<T, Place>));
      entries_ = room;
      all_ = {};
    }
    blocks_ = {};
  }

 private:
  // Behind the last number of a row; other tasks write the numbers before.
  void clear_spare(std::uint8_t* row) const {
    const std::int64_t used = y_.size * static_cast<std::int64_t>(sizeof(T));
    std::memset(row + used, 0, static_cast<std::size_t>(y_.rows.cells * kCellBytes - used));
  }

  ArenaRows x_;
  Scratch<Cell> all_;
  std::vector<RowBlock<T, Place>> blocks_;
  std::vector<std::int32_t> segments_;
  const void* entries_ = nullptr;  // the blocks, wherever they are; null: there are none
  std::vector<float> bias_;
  Activation after_;
  RowsOrOutput y_;
  bool gathers_ = false, settled_ = false;
};

template <class T>
std::unique_ptr<Step> product_of(const ArenaRows& x, const float* weight, std::int64_t size,
                                 const std::vector<float>& bias, Activation after, const RowsOrOutput& y) {
  if (size <= std::int64_t{1} << 16) {
    return std::make_unique<ProductOf<T, std::uint16_t>>(x, weight, size, bias, after, y);
  }
  return std::make_unique<ProductOf<T, std::uint32_t>>(x, weight, size, bias, after, y);
}

}  // namespace

std::unique_ptr<Step> make_product(Dtype dtype, const ArenaRows& x, const float* weight, std::int64_t size,
                                   const std::vector<float>& bias, Activation after, const RowsOrOutput& y) {
  return dtype == Dtype::kBFloat16 ? product_of<BFloat16>(x, weight, size, bias, after, y)
                                   : product_of<float>(x, weight, size, bias, after, y);
}

}  // namespace mezzotint
