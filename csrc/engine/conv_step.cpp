// How does a convolution become a step? Its nonzeros become pairs of offsets and weights, once.
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "engine/masks.hpp"
#include "engine/share.hpp"
#include "engine/steps.hpp"

namespace mezzotint {
namespace {

// What an output channel costs beside its pairs, in pairs: the sums' way to memory.
constexpr std::int64_t kChannelCost = 3;

HalfPairEntry joined(std::int32_t first, float first_weight, std::int32_t second, float second_weight, BFloat16) {
  BFloat16 low, high;
  narrow(first_weight, low);
  narrow(second_weight, high);
  return {first, second, low.bits | static_cast<std::uint32_t>(high.bits) << 16};
}

PairEntry joined(std::int32_t first, float first_weight, std::int32_t second, float second_weight, float) {
  return {first, second, first_weight, second_weight};
}

float value_at(const SparseWeight& weight, std::int64_t k) {
  return static_cast<const float*>(weight.values)[k * weight.stride];
}

std::int32_t offset_of(const ConvStep& s, std::int64_t index, std::int64_t size) {
  const std::int64_t out = index / s.conv.row(), within = index % s.conv.row();
  const std::int64_t channel = out / s.conv.out_per_group() * s.conv.in_per_group + within / s.conv.taps();
  const std::int64_t tap = within % s.conv.taps();
  const std::int64_t bytes = (channel * s.x.shape.stride + s.tap_offsets[static_cast<std::size_t>(tap)]) * size;
  if (std::abs(bytes) > std::numeric_limits<std::int32_t>::max()) {
    throw InvalidInput("convolution: received an image of more than 2 GiB; allowed: less");
  }
  return static_cast<std::int32_t>(bytes);
}

template <class T, class Entry>
class ConvOf final : public Step {
 public:
  explicit ConvOf(const ConvStep& s)
      : x_(s.x), y_(s.y), has_residual_(s.residual != nullptr), bias_(s.bias), clamp_(s.clamp), tile_(s.tile) {
    if (s.residual) {
      residual_ = *s.residual;
    }
    inside_ = inside_of(y_.shape);
    segments_.reserve(static_cast<std::size_t>(s.conv.out) + 1);
    entries_.reserve(static_cast<std::size_t>(s.weight.nnz / 2 + s.conv.out));
    segments_.push_back(0);
    std::int64_t k = 0;
    for (std::int64_t out = 0; out < s.conv.out; ++out) {
      const std::int64_t end = (out + 1) * s.conv.row();
      for (; k < s.weight.nnz && s.weight.indices[k] < end; k += 2) {
        const std::int32_t first = offset_of(s, s.weight.indices[k], sizeof(T));
        if (k + 1 == s.weight.nnz || s.weight.indices[k + 1] >= end) {
          entries_.push_back(joined(first, value_at(s.weight, k), first, 0.0f, T{}));
          ++k;
          break;
        }
        entries_.push_back(joined(first, value_at(s.weight, k), offset_of(s, s.weight.indices[k + 1], sizeof(T)),
                                  value_at(s.weight, k + 1), T{}));
      }
      segments_.push_back(static_cast<std::int32_t>(entries_.size()));
    }
  }

  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override {
    const std::int64_t tiles = tiles_of(place) * place.images;
    const std::int64_t shares = shares_of(place);
    return shares > 1 ? tiles * shares : std::min(tiles, 2 * tasks_wanted(place.threads));
  }

  void work(const RunPlace& place, std::int64_t task) const override {
    const std::int64_t tiles = tiles_of(place);
    const std::int64_t shares = shares_of(place);
    if (shares > 1) {
      const std::int64_t tile = task / shares;
      gather(place, tile / tiles, {tile % tiles, tile % tiles + 1}, channels_of(task % shares, shares));
      return;
    }
    Range all = share_of(tiles * place.images, task, tasks(place));
    while (all.first < all.last) {
      const std::int64_t image = all.first / tiles;
      const std::int64_t last = std::min(all.last, (image + 1) * tiles);
      gather(place, image, {all.first - image * tiles, last - image * tiles}, {0, y_.shape.channels});
      all.first = last;
    }
  }

  [[nodiscard]] std::int64_t tile() const override { return tile_; }
  void set_tile(std::int64_t cells) override { tile_ = std::max<std::int64_t>(cells, 1); }

 private:
  [[nodiscard]] std::int64_t tile_of(const RunPlace& place) const {
    return std::min(tile_, place.kernels->plane_tile_cells(y_.shape.dtype));
  }
  [[nodiscard]] std::int64_t tiles_of(const RunPlace& place) const {
    const std::int64_t tile = tile_of(place);
    return (plane_cells(y_.shape) + tile - 1) / tile;
  }
  [[nodiscard]] std::int64_t shares_of(const RunPlace& place) const {
    return parts_of_each(tiles_of(place) * place.images, y_.shape.channels, place.threads);
  }

  [[nodiscard]] std::int64_t cost_before(std::int64_t channel) const {
    return segments_[static_cast<std::size_t>(channel)] + channel * kChannelCost;
  }
  // Output channels of about equal cost.
  [[nodiscard]] Range channels_of(std::int64_t share, std::int64_t shares) const {
    const auto first = [&](std::int64_t s) {
      const std::int64_t wanted = cost_before(y_.shape.channels) * s / shares;
      std::int64_t low = 0, high = y_.shape.channels;
      while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        cost_before(middle) < wanted ? low = middle + 1 : high = middle;
      }
      return s == shares ? y_.shape.channels : low;
    };
    return {first(share), first(share + 1)};
  }

  void gather(const RunPlace& place, std::int64_t image, Range tiles, Range channels) const {
    PlaneGatherJob job{};
    job.x = x_.at(place, image);
    job.y = y_.at(place, image);
    if (has_residual_) {
      job.residual = residual_.at(place, image);
    }
    job.entries = entries_.data();
    job.segments = segments_.data();
    job.bias = bias_.data();
    job.low = clamp_.low;
    job.high = clamp_.high;
    job.inside = inside_->cells.get();
    job.tile = tile_of(place);
    place.kernels->plane_gather(job, tiles.first, tiles.last, channels.first, channels.last);
  }

  ArenaPlanes x_, y_, residual_;
  bool has_residual_;
  std::vector<Entry> entries_;
  std::vector<std::int32_t> segments_;
  std::vector<float> bias_;
  Clamp clamp_;
  std::shared_ptr<const Inside> inside_;
  std::int64_t tile_;
};

}  // namespace

std::unique_ptr<Step> make_conv(const ConvStep& conv) {
  if (conv.y.shape.dtype == Dtype::kBFloat16) {
    return std::make_unique<ConvOf<BFloat16, HalfPairEntry>>(conv);
  }
  return std::make_unique<ConvOf<float, PairEntry>>(conv);
}

}  // namespace mezzotint
