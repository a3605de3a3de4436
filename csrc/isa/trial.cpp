#include "isa/trial.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

namespace mezzotint {
namespace {

constexpr std::int64_t kColumns = 8, kInputs = 32, kOutputs = 16, kNonzeros = 16;
constexpr int kTurns = 40;
// Two weights of 1 where a kernel takes two entries at a time, about 1 where it takes one.
constexpr float kWeight = 0x1.007f00p0f;

// One row of pixels, every output channel with nonzeros at every second input channel.
class Trial {
 public:
  Trial() : x_(kInputs * kColumns), y_(kOutputs * kColumns) {
    for (std::int64_t channel = 0; channel < kOutputs; ++channel) {
      segments_.push_back(static_cast<std::int32_t>(entries_.size()));
      for (std::int64_t k = 0; k < kNonzeros; ++k) {
        const std::int64_t input = (channel + k * (kInputs / kNonzeros)) % kInputs;
        entries_.push_back({static_cast<std::int32_t>(input * kColumns * kCellBytes), kWeight});
      }
    }
    segments_.push_back(static_cast<std::int32_t>(entries_.size()));
  }

  double seconds(const Kernels& kernels) {
    GatherJob job{};
    job.dtype = Dtype::kBFloat16;
    job.x = x_.data();
    job.y = y_.data();
    job.x_column = job.y_column = 1;
    job.x_row = job.y_row = job.y_channel = kColumns;
    job.blocks = job.rows = job.parts = 1;
    job.columns = kColumns;
    job.channels = kOutputs;
    job.tile_rows = 1;
    job.tile_columns = kernels.tile_cells(job.dtype);
    job.entries = entries_.data();
    job.segments = segments_.data();
    using Clock = std::chrono::steady_clock;
    const Clock::time_point before = Clock::now();
    kernels.gather(job, 0, (kColumns + job.tile_columns - 1) / job.tile_columns, 0, kOutputs, nullptr);
    return std::chrono::duration<double>(Clock::now() - before).count();
  }

 private:
  std::vector<Cell> x_, y_;
  std::vector<Entry> entries_;
  std::vector<std::int32_t> segments_;
};

}  // namespace

bool gathers_faster(const Kernels& one, const Kernels& other) {
  Trial trial;
  double least_one = std::numeric_limits<double>::infinity(), least_other = least_one;
  for (int turn = 0; turn < kTurns; ++turn) {
    least_one = std::min(least_one, trial.seconds(one));
    least_other = std::min(least_other, trial.seconds(other));
  }
  return least_one < least_other;
}

}  // namespace mezzotint
