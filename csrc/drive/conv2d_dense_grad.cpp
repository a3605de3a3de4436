// How is the gradient of a whole weight computed, present weights and missing ones? Tasks of some images and output
// channels add up products, and their sums become the gradient at the end.
#include <algorithm>

#include "core/divide.hpp"
#include "drive/conv2d.hpp"
#include "drive/matrix_grad.hpp"
#include "drive/sums.hpp"
#include "plan/dense_grad.hpp"
#include "plan/tiles.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

// Sums [chunk][group][part][tap][output channel] of one task after the other.
class DenseSums {
 public:
  DenseSums(const Conv& conv, const DenseGradCut& cut)
      : conv_(conv),
        in_pairs_(cut.in_pairs),
        chunks_(cut.chunks),
        outs_(divide_up(conv.out_per_group(), kOutsTogether) * kOutsTogether),
        taps_(conv.in_per_group * conv.kernel_h * (cut.in_pairs ? 1 : conv.kernel_w)),
        group_((cut.in_pairs ? kPairParts : 1) * taps_ * outs_),
        sums_(chunks_ * conv.groups * group_) {}

  [[nodiscard]] std::int64_t outs() const { return outs_; }
  [[nodiscard]] float* at(std::int64_t chunk, std::int64_t group) const {
    return sums_.get() + (chunk * conv_.groups + group) * group_;
  }
  void clear(int threads) const { clear_sums(sums_.get(), chunks_ * conv_.groups * group_, threads); }
  // [out][tap of the window], chunks added in their order.
  void finish(float* gradient, int threads) const {
    parallel_for(conv_.groups * taps_, useful_threads(chunks_ * conv_.groups * group_ / 4, threads),
                 [&](std::int64_t i) { finish_tap(i / taps_, i % taps_, gradient); });
  }

 private:
  [[nodiscard]] float total(std::int64_t group, std::int64_t part, std::int64_t tap, std::int64_t o) const {
    const float* from = at(0, group) + (part * taps_ + tap) * outs_ + o;
    float sum = from[0];
    for (std::int64_t chunk = 1; chunk < chunks_; ++chunk) {
      sum += from[chunk * conv_.groups * group_];
    }
    return sum;
  }
  void finish_tap(std::int64_t group, std::int64_t tap, float* gradient) const {
    for (std::int64_t o = 0; o < conv_.out_per_group(); ++o) {
      float* to = gradient + (group * conv_.out_per_group() + o) * conv_.row();
      const float first = total(group, 0, tap, o);
      if (in_pairs_) {
        const float sum = total(group, 1, tap, o), difference = total(group, 2, tap, o);
        const float both = 0.5f * (sum + difference);
        to[tap * 3] = first + both;
        to[tap * 3 + 1] = 0.5f * (sum - difference);
        to[tap * 3 + 2] = total(group, 3, tap, o) + both;
      } else {
        to[tap] = first;
      }
    }
  }

  Conv conv_;
  bool in_pairs_;
  std::int64_t chunks_, outs_, taps_, group_;
  Scratch<float> sums_;
};

DenseGradJob job_of(const Packed& x, const Packed& gy, const Conv& conv, const DenseGradCut& cut, std::int64_t group,
                    std::int64_t outs) {
  DenseGradJob job{};
  job.dtype = x.dtype;
  job.x = cell_at(x, 0, -conv.top, group * conv.in_per_group, -conv.left);
  job.x_block = x.block;
  job.x_row = x.row;
  job.x_channel = x.channel;
  job.gy = cell_at(gy, 0, 0, group * conv.out_per_group(), 0);
  job.gy_block = gy.block;
  job.gy_row = gy.row;
  job.gy_channel = gy.channel;
  job.blocks = gy.blocks;
  job.rows = gy.height;
  job.columns = gy.width;
  job.channels = conv.in_per_group;
  job.kernel_h = conv.kernel_h;
  job.kernel_w = conv.kernel_w;
  job.stride_h = conv.stride_h;
  job.stride_w = conv.stride_w;
  job.dilation_h = conv.dilation_h;
  job.dilation_w = conv.dilation_w;
  job.in_pairs = cut.in_pairs;
  job.band_blocks = cut.band_blocks;
  job.band_rows = cut.band_rows;
  job.band_columns = cut.band_columns;
  job.part_channels = cut.part_channels;
  job.outs = outs;
  return job;
}

void whole_by_matrices(const Packed& x, const Packed& gy, float* gradient, const Conv& conv, const Context& with) {
  const std::int64_t weights = conv.out * conv.row();
  const MatrixGrad grad(x, gy, conv, chunks_of(gy.blocks * gy.height * gy.width, weights));
  const SumsOf sums({gradient, Dtype::kFloat32, weights}, grad.chunks(), with.threads);
  grad.run(with, [&](std::int64_t chunk, std::int64_t first, std::int64_t last, const MatrixGrad::Sums& found) {
    for (std::int64_t out = first; out < last; ++out) {
      float* const to = sums.chunk(chunk) + out * conv.row();
      for (std::int64_t position = 0; position < conv.row(); ++position) {
        to[position] = found.at(out - first, position);
      }
    }
  });
  sums.finish(with.threads);
}

}  // namespace

void conv2d_dense_grad_packed(const Packed& x, const Packed& gy, float* gradient, const Conv& conv, bool paired,
                              const Context& with) {
  const std::int64_t weights = conv.out * conv.row(), positions = gy.blocks * gy.height * gy.width;
  if (weights == 0 || positions == 0) {
    std::fill(gradient, gradient + weights, 0.0f);
    return;
  }
  if (MatrixGrad::takes(conv, x.dtype, with)) {
    return whole_by_matrices(x, gy, gradient, conv, with);
  }
  const DenseGradCut cut = cut_dense_grad(conv, gy, paired);
  const DenseSums sums(conv, cut);
  const int team = useful_threads(weights * positions, with.threads);
  sums.clear(team);
  const std::int64_t ranges = divide_up(conv.out_per_group(), cut.outs), bands = bands_of(cut, gy);
  parallel_for(cut.chunks * conv.groups * ranges, team, [&](std::int64_t task) {
    const std::int64_t chunk = task / ranges / conv.groups, group = task / ranges % conv.groups;
    const std::int64_t first = task % ranges * cut.outs, last = std::min(first + cut.outs, conv.out_per_group());
    const Scratch<Cell> combined(combined_cells(cut, conv));
    with.kernels.dense_grad(job_of(x, gy, conv, cut, group, sums.outs()), bands * chunk / cut.chunks,
                            bands * (chunk + 1) / cut.chunks, first, last, combined.get(), sums.at(chunk, group));
  });
  sums.finish(gradient, team);
}

}  // namespace mezzotint
