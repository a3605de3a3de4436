// How is the gradient of a whole weight computed on a matrix unit? Tasks of some output channels and some of the
// images, whose sums somebody takes over: at the nonzeros, or all of them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "drive/context.hpp"
#include "kernels/jobs.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {

class MatrixGrad {
  // Where a position of the weight's row lies in the sums: the block of its tap and channel, and its place in there.
  struct Place {
    std::int32_t block, within;
  };

 public:
  // Whether a matrix unit can do it.
  static bool takes(const Conv& conv, Dtype dtype, const Context& with);
  // Whether that saves time where only the gradients at `nnz` nonzeros are wanted.
  static bool pays(const Conv& conv, std::int64_t nnz, Dtype dtype, const Context& with);

  // Whether the sums of all outputs are one task's.
  static bool at_once(const Conv& conv);

  // Into how many chunks of the images, at most `most`, the sums are parted.
  static std::int64_t chunks_for(const Packed& gy, const Conv& conv, std::int64_t most);

  MatrixGrad(const MatrixGrad&) = delete;
  MatrixGrad& operator=(const MatrixGrad&) = delete;
  // `most_chunks`: of the images, whose sums are kept apart.
  MatrixGrad(const Packed& x, const Packed& gy, const Conv& conv, std::int64_t most_chunks);

  [[nodiscard]] std::int64_t chunks() const { return chunks_; }
  // Of all outputs.
  [[nodiscard]] const MatrixGradJob& job() const { return job_; }
  [[nodiscard]] std::int64_t sums() const { return job_.channels * job_.tap_count * job_.outs; }
  [[nodiscard]] std::int64_t scratch_cells() const { return kMatrixPixels * job_.outs; }

  // The sums of a task: gradients of some outputs, over some of the images.
  class Sums {
   public:
    Sums(const MatrixGrad& grad, const float* sums, std::int64_t outs)
        : places_(grad.places_.data()), sums_(sums), out_blocks_(outs / kMatrixOuts) {}
    // Of a task's output channel and a position in the weight's row.
    [[nodiscard]] float at(std::int64_t out, std::int64_t position) const {
      const Place& place = places_[position];
      const std::int64_t half = out / 16 % 2 * 256;
      return sums_[(place.block * out_blocks_ + out / kMatrixOuts) * 1024 + place.within + half + out % 16];
    }

    // Adds those at the nonzeros of output channels [first, last), the task's, at their places in `values`.
    void add(const SparseWeight& weight, const Conv& conv, const std::vector<std::int32_t>& starts, std::int64_t first,
             std::int64_t last, float* values) const;

   private:
    const Place* places_;
    const float* sums_;
    std::int64_t out_blocks_;
  };

  // Calls use(chunk, first output, last output, sums) for every task.
  template <class Use>
  void run(const Context& with, const Use& use) const {
    const std::int64_t work = job_.blocks * job_.rows * job_.columns * sums();
    parallel_for(passes_ * chunks_, useful_threads(work, with.threads), [&](std::int64_t task) {
      const std::int64_t pass = task / chunks_, chunk = task % chunks_;
      const std::int64_t first = first_out(pass), last = first_out(pass + 1);
      const Scratch<float> memory(sums() / job_.outs * (last - first));
      compute(with, first, last, chunk, memory.get());
      use(chunk, first, last, Sums(*this, memory.get(), last - first));
    });
  }

 private:
  [[nodiscard]] std::int64_t first_out(std::int64_t pass) const {
    return job_.outs / kMatrixOuts * pass / passes_ * kMatrixOuts;
  }
  void compute(const Context& with, std::int64_t first, std::int64_t last, std::int64_t chunk, float* sums) const;

  std::vector<std::int64_t> taps_;
  MatrixGradJob job_{};
  std::vector<Place> places_;
  std::int64_t tiles_, passes_, chunks_;
};

}  // namespace mezzotint
