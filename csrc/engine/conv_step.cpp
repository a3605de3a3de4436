// How does a convolution become a step? Its weights become what the chosen kernel reads (entries.hpp), once. The tasks
// of the step are tiles, or tiles and shares of the output channels.
#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>

#include "core/error.hpp"
#include "engine/entries.hpp"
#include "engine/masks.hpp"
#include "engine/routes.hpp"
#include "engine/share.hpp"
#include "engine/steps.hpp"

namespace mezzotint {
namespace {

// What an output channel costs beside its pairs, in pairs: the sums' way to memory.
constexpr std::int64_t kChannelCost = 3;
// From this density on, all weights of a group of channels may cost less than the nonzeros: it is a choice.
constexpr double kLeastShared = 0.25;
// From this density on, all weights by a matrix unit may cost less.
constexpr double kLeastMatrix = 0.02;
// The input channels are summed in parts, if what a tile reads of a part fills level 1 of the cache to such a degree.
constexpr std::int64_t kLeastPart = std::int64_t{12} << 10, kMostPart = std::int64_t{40} << 10;
constexpr std::int64_t kMostParts = 32;
constexpr std::int64_t kFirstTile = 4;  // until another one is chosen
constexpr std::int64_t kTileStep = 4;   // with channels in the lanes and of windows, tiles are a multiple of it

template <class T, class Pair, class Group, class Window>
class ConvOf final : public Step {
 public:
  explicit ConvOf(const ConvStep& s) : x_(s.x), y_(s.y), keeps_y_(s.keeps_y), after_(s.after) {
    if (s.phases) {
      phases_ = *s.phases;
      routes_ = Routes(y_.shape, phases_->shape);
    }
    if (s.residual) {
      residual_ = *s.residual;
    }
    inside_ = inside_of(y_.shape);
    bias_.resize(static_cast<std::size_t>((s.conv.out + kLaneChannels - 1) / kLaneChannels + 1));  // whole blocks
    std::memcpy(bias_.data(), s.bias.data(), s.bias.size() * sizeof(float));
    const double density =
        static_cast<double>(s.weight.nnz) / static_cast<double>(std::max<std::int64_t>(s.conv.out * s.conv.row(), 1));
    const std::vector<std::int64_t> starts = starts_of(s);
    const bool shares = s.conv.groups == 1 && density >= kLeastShared;
    if (shares) {
      groups_ = groups_of<T, Group>(s, starts);
    }
    if (!shares || density < 1.0) {
      pairs_ = pairs_of<T, Pair>(s, starts);
    }
    if (has_windows(s)) {
      windows_ = windows_of<T, Window>(s, starts);
    }
    inputs_ = s.conv.row();
    if (s.matrices && std::is_same_v<T, BFloat16> && s.conv.groups == 1 && density >= kLeastMatrix) {
      matrices_ = in_matrices(s, starts);
      one_cell_ = s.conv.taps() > 1;
    }
    channels_ = s.conv.in_per_group;
    most_parts_ = s.conv.groups == 1 ? std::min(kMostParts, channels_) : 1;
    note_reads(s);
    choose({pairs_.segments.empty() ? Summing::kGroups : Summing::kPairs, kFirstTile, 1});
  }

  [[nodiscard]] std::int64_t tasks(const RunPlace& place) const override {
    const std::int64_t planes = y_.count(place), tiles = tiles_of(place) * planes;
    const std::int64_t shares = shares_of(place);
    if (shares > 1) {
      return tiles * shares;
    }
    const std::int64_t groups = tiles_of(place) == 1 ? divide_up(planes, images_at_once(place)) : tiles;
    return std::min(groups, 2 * tasks_wanted(place.threads));
  }

  void work(const RunPlace& place, std::int64_t task, float* kept) const override {
    const std::int64_t tiles = tiles_of(place);
    const std::int64_t shares = shares_of(place);
    if (shares > 1) {
      const std::int64_t tile = task / shares;
      const std::int64_t image = tile / tiles;
      gather(place, {image, image + 1}, {tile % tiles, tile % tiles + 1}, units_of(task % shares, shares), kept);
      return;
    }
    Range all = share_of(tiles * y_.count(place), task, tasks(place));
    while (all.first < all.last) {
      const std::int64_t image = all.first / tiles;
      if (tiles == 1) {
        const std::int64_t images = std::min(all.last - image, images_at_once(place));
        gather(place, {image, image + images}, {0, 1}, {0, units()}, kept);
        all.first += images;
        continue;
      }
      const std::int64_t last = std::min(all.last, (image + 1) * tiles);
      gather(place, {image, image + 1}, {all.first - image * tiles, last - image * tiles}, {0, units()}, kept);
      all.first = last;
    }
  }

  [[nodiscard]] std::int64_t kept_floats(const Kernels& kernels) const override {
    const std::int64_t tile = std::min(choice_.tile, most_cells(choice_.summing, kernels));
    if (tile == 0) {
      throw InvalidInput(
          "kernel of a convolution: received one for a matrix unit, and the instruction set in use has none; allowed: "
          "one of choices()");
    }
    if (choice_.summing == Summing::kMatrices) {
      return (kMatrixSumCells + kMatrixInputCells) * kLaneChannels;
    }
    if (choice_.summing == Summing::kLanes) {
      return tile * kLaneChannels * kLaneBlocks * kLaneChannels;
    }
    return choice_.parts > 1 ? units() * tile * lanes_of(y_.shape.dtype) : 0;
  }

  [[nodiscard]] std::vector<Choice> choices(const Kernels& kernels) const override {
    if (settled_) {
      return {choice_};
    }
    std::vector<Choice> found;
    for (std::int32_t code = 0; code < kSummings; ++code) {
      const auto summing = static_cast<Summing>(code);
      for (const std::int64_t tile : tiles_for(summing, kernels)) {
        found.push_back({summing, tile, 1});
        for (std::int64_t parts = 2; summing == Summing::kPairs && parts <= most_parts_; parts *= 2) {
          const std::int64_t bytes = channels_ / parts * copies_ * (tile + halo_) * kCellBytes;
          if (bytes >= kLeastPart && bytes <= kMostPart) {
            found.push_back({summing, tile, parts});
          }
        }
      }
    }
    return found;
  }
  [[nodiscard]] Choice choice() const override { return choice_; }
  void choose(Choice choice) override {
    if (settled_ || !has(choice.summing) || choice.tile < 1 || choice.parts < 1 ||
        (choice.summing != Summing::kPairs && choice.parts > 1)) {
      throw InvalidInput("kernel of a convolution: received one that it does not have; allowed: one of choices()");
    }
    const bool same_order = choice.summing == choice_.summing && choice.parts == choice_.parts;
    choice_ = choice;
    if (same_order && !segments_.empty()) {
      return;
    }
    lanes_ = {};
    ordered_ = {};
    if (choice.summing == Summing::kLanes) {
      put_in_lanes();
    } else if (choice.summing == Summing::kMatrices) {
      lanes_ = matrices_;
      use_cells(kMatrixOuts * static_cast<std::int64_t>(lanes_.offsets.size()) / kMatrixColumns);
    } else if (choice.summing == Summing::kGroups) {
      use(groups_.entries, groups_.segments);
    } else if (choice.summing == Summing::kWindows) {
      use(windows_.entries, windows_.segments);
    } else if (choice.parts == 1) {
      use(pairs_.entries, pairs_.segments);
    } else {
      order_by_parts();
    }
  }
  [[nodiscard]] std::int64_t weight_bytes() const override { return entry_bytes_; }
  void settle(std::uint8_t* room) override {
    std::memcpy(room, entries_, static_cast<std::size_t>(entry_bytes_));
    entries_ = room;
    settled_ = true;
    pairs_ = {};
    groups_ = {};
    windows_ = {};
    matrices_ = {};
    ordered_ = {};
    lanes_.cells = {};
  }

 private:
  [[nodiscard]] std::int64_t tile_of(const RunPlace& place) const {
    return std::min(choice_.tile, most_cells(choice_.summing, *place.kernels));
  }
  // Cells that are summed at once, at most; 0 where the kernels cannot sum so.
  [[nodiscard]] std::int64_t most_cells(Summing summing, const Kernels& kernels) const {
    if (summing == Summing::kMatrices) {
      return kernels.matrices ? kMatrixPixels : 0;
    }
    return kernels.plane_tile_cells(y_.shape.dtype, summing);
  }
  // Tiles that cut the planes differently, up to the largest one.
  [[nodiscard]] std::vector<std::int64_t> tiles_for(Summing summing, const Kernels& kernels) const {
    const std::int64_t cells = plane_cells(y_.shape);
    const std::int64_t most = has(summing) ? std::min(most_cells(summing, kernels), cells) : 0;
    const std::int64_t step = summing == Summing::kPairs || summing == Summing::kGroups ? 1 : kTileStep;
    std::vector<std::int64_t> found;
    const auto add = [&](std::int64_t tile) {
      const auto cut = [cells](std::int64_t of) { return (cells + of - 1) / of; };
      if (found.empty() || cut(tile) != cut(found.back())) {
        found.push_back(tile);
      }
    };
    for (std::int64_t tile = std::max(step, std::int64_t{2}); tile < most; tile += step) {
      add(tile);
    }
    if (most > 0) {
      add(most);
    }
    return found;
  }
  [[nodiscard]] std::int64_t tiles_of(const RunPlace& place) const {
    const std::int64_t tile = tile_of(place);
    return (plane_cells(y_.shape) + tile - 1) / tile;
  }
  template <class Entry>
  void use(const std::vector<Entry>& entries, std::vector<std::int32_t> segments) {
    entries_ = entries.data();
    entry_bytes_ = static_cast<std::int64_t>(entries.size() * sizeof(Entry));
    segments_ = std::move(segments);
  }
  [[nodiscard]] bool has(Summing summing) const {
    switch (summing) {
      case Summing::kPairs:
        return !pairs_.segments.empty();
      case Summing::kGroups:
        return !groups_.segments.empty();
      case Summing::kLanes:
        return std::is_same_v<Group, GroupEntry> && !groups_.segments.empty();
      case Summing::kWindows:
        return !windows_.segments.empty();
      case Summing::kMatrices:
        return !matrices_.cells.empty();
    }
    return false;
  }
  void put_in_lanes() {
    if constexpr (std::is_same_v<Group, GroupEntry>) {
      lanes_ = in_lanes(groups_, inputs_);
      use_cells(kLaneBlocks * inputs_);
    }
  }
  // Cells of weights, so many a unit, as if each were an entry.
  void use_cells(std::int64_t of_unit) {
    std::vector<std::int32_t> segments;
    const auto cells = static_cast<std::int64_t>(lanes_.cells.size());
    for (std::int64_t at = 0; at < cells; at += of_unit) {
      segments.push_back(static_cast<std::int32_t>(at));
    }
    segments.push_back(static_cast<std::int32_t>(cells));
    use(lanes_.cells, std::move(segments));
  }
  // All pairs of the first part of the input channels, then those of the second one: in the order in which they are
  // read.
  void order_by_parts() {
    std::vector<std::int32_t> segments{0};
    for (std::int64_t part = 0; part < choice_.parts; ++part) {
      for (std::size_t out = 0; out + 1 < pairs_.segments.size(); ++out) {
        const auto channels = pairs_.channels.begin();
        const auto first = channels + pairs_.segments[out], last = channels + pairs_.segments[out + 1];
        const auto begin = std::lower_bound(first, last, channels_ * part / choice_.parts) - channels;
        const auto end = std::lower_bound(first, last, channels_ * (part + 1) / choice_.parts) - channels;
        ordered_.insert(ordered_.end(), pairs_.entries.begin() + begin, pairs_.entries.begin() + end);
        segments.push_back(static_cast<std::int32_t>(ordered_.size()));
      }
    }
    use(ordered_, std::move(segments));
  }

  // Taps lie in phases or copies of the input, which are about as far apart as all of its channels are large.
  void note_reads(const ConvStep& s) {
    std::vector<std::int64_t> offsets = s.tap_offsets;
    std::sort(offsets.begin(), offsets.end());
    std::int64_t copies = 0, halo = 0, first = 0, last = 0;
    for (const std::int64_t offset : offsets) {
      if (copies == 0 || offset - last > s.conv.in() * s.x.shape.stride / 2) {
        ++copies;
        first = offset;
      }
      last = offset;
      halo = std::max(halo, last - first);
    }
    copies_ = std::max<std::int64_t>(copies, 1);
    halo_ = halo * static_cast<std::int64_t>(sizeof(T)) / kCellBytes;
  }

  // Output channels, or groups of them: what a task can take a share of.
  [[nodiscard]] std::int64_t units() const { return (static_cast<std::int64_t>(segments_.size()) - 1) / choice_.parts; }
  [[nodiscard]] std::int64_t shares_of(const RunPlace& place) const {
    return parts_of_each(tiles_of(place) * y_.count(place), units(), place.threads);
  }
  [[nodiscard]] std::int64_t cost_before(std::int64_t unit) const {
    std::int64_t cost = unit * kChannelCost;
    for (std::int64_t part = 0; part < choice_.parts; ++part) {
      const auto first = static_cast<std::size_t>(part * units());
      cost += segments_[first + static_cast<std::size_t>(unit)] - segments_[first];
    }
    return cost;
  }
  // Units of about equal cost.
  [[nodiscard]] Range units_of(std::int64_t share, std::int64_t shares) const {
    const auto first = [&](std::int64_t s) {
      const std::int64_t wanted = cost_before(units()) * s / shares;
      std::int64_t low = 0, high = units();
      while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        cost_before(middle) < wanted ? low = middle + 1 : high = middle;
      }
      return s == shares ? units() : low;
    };
    return {first(share), first(share + 1)};
  }

  // Planes that are summed at once, by one thread.
  [[nodiscard]] std::int64_t images_at_once(const RunPlace& place) const {
    const std::int64_t fitting = choice_.summing == Summing::kMatrices ? kMatrixPixels / plane_cells(y_.shape) : 1;
    return std::clamp<std::int64_t>(divide_up(y_.count(place), place.threads), 1, std::max<std::int64_t>(1, fitting));
  }

  // At most images_at_once() images.
  void gather(const RunPlace& place, Range images, Range tiles, Range units, float* kept) const {
    if (choice_.summing != Summing::kMatrices) {
      place.kernels->plane_gather(job_of(place, images.first, kept), tiles.first, tiles.last, units.first, units.last);
      return;
    }
    PlaneGatherJob jobs[kMatrixPixels];
    for (std::int64_t image = images.first; image < images.last; ++image) {
      jobs[image - images.first] = job_of(place, image, kept);
    }
    place.kernels->matrices->plane_gather(jobs, images.last - images.first, tiles.first, tiles.last, units.first,
                                          units.last);
  }

  [[nodiscard]] PlaneGatherJob job_of(const RunPlace& place, std::int64_t image, float* kept) const {
    PlaneGatherJob job{};
    job.x = x_.at(place, image);
    job.y = keeps_y_ ? y_.at(place, image) : y_.shape;
    if (phases_) {
      const Planes& shape = phases_->shape;
      const std::int64_t first = place.first + image * y_.shape.abreast;  // of the images in the plane
      job.phases = phases_->at(place, first / shape.abreast - place.first / shape.abreast);
      job.routes = routes_.view(first % shape.abreast * image_step(shape) * size_of(shape.dtype));
    }
    if (residual_) {
      job.residual = residual_->at(place, image);
    }
    job.summing = choice_.summing;
    job.entries = entries_;
    job.segments = segments_.data();
    job.offsets = lanes_.offsets.data();
    job.inputs = choice_.summing == Summing::kMatrices ? static_cast<std::int64_t>(lanes_.offsets.size()) : inputs_;
    job.one_cell = one_cell_;
    job.units = this->units();
    job.parts = choice_.parts;
    job.kept = kept;
    job.bias = reinterpret_cast<const float*>(bias_.data());
    job.after = after_;
    job.inside = inside_->view();
    job.tile = tile_of(place);
    return job;
  }

  ArenaPlanes x_, y_;
  bool keeps_y_;
  std::optional<ArenaPlanes> phases_, residual_;
  Routes routes_;            // to the phases
  EntryList<Pair> pairs_;    // empty: not a choice
  EntryList<Group> groups_;  // the same
  EntryList<Window> windows_;
  LaneWeights matrices_;
  bool one_cell_ = false;
  // Made for a choice, of the former.
  std::vector<Pair> ordered_;
  LaneWeights lanes_;
  std::vector<Cell> bias_;
  Activation after_;
  std::shared_ptr<const Inside> inside_;
  Choice choice_{};
  // Of the choice: entries, and where those of each unit begin, part by part.
  const void* entries_ = nullptr;
  std::int64_t entry_bytes_ = 0;
  std::vector<std::int32_t> segments_;
  std::int64_t inputs_ = 0, channels_ = 0, most_parts_ = 1;
  // What taps read of a channel: the tile in so many planes, and so many cells beside it.
  std::int64_t copies_ = 1, halo_ = 0;
  bool settled_ = false;
};

}  // namespace

std::unique_ptr<Step> make_conv(const ConvStep& conv) {
  if (conv.y.shape.dtype == Dtype::kBFloat16) {
    return std::make_unique<ConvOf<BFloat16, HalfPairEntry, HalfGroupEntry, HalfWindowEntry>>(conv);
  }
  return std::make_unique<ConvOf<float, PairEntry, GroupEntry, WindowEntry>>(conv);
}

}  // namespace mezzotint
