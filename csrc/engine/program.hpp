// What is a network ready to run? A list of steps over one arena; one call runs it on a batch of any size.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/pace.hpp"
#include "engine/steps.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// An input or output of a run: FP32, contiguous.
struct Numbers {
  float* data;
  std::int64_t size;  // numbers of an image
};

// What a step took: seconds as the caller saw them, and seconds of the processor in the thread that worked longest at
// it, without waiting.
struct StepTime {
  double seen = 0.0, worked = 0.0;
};

class Program {
 public:
  // arena_bytes: what `images` images need at once; a larger batch is done in several rounds. `margin` bytes before and
  // behind may be read, as taps of what is no pixel lie there.
  Program(std::int64_t arena_bytes, std::int64_t margin, std::int64_t images)
      : arena_bytes_(arena_bytes), margin_(margin), images_(images) {}

  // visit: so many images of a round go through the step before the next ones begin; a multiple of the visit of the
  // step before. Where visits are smaller than a round, each thread does rounds of its own, or one does them all.
  void add(std::unique_ptr<Step> step, std::int64_t visit);
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(steps_.size()); }
  [[nodiscard]] Step& step(std::int64_t number);

  // Takes the kernels that are chosen, for good. Their weights then lie in one block, in the order of the steps, on
  // huge pages where the system has them: a batch of one reads each once.
  void settle();

  // Safe to call from several threads once all steps are there; threads >= 1, the caller's included.
  // times: of each step, to which those of this run are added; or null.
  void run(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch, int threads,
           std::vector<StepTime>* times = nullptr);

 private:
  void run_now(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch, int threads,
               std::vector<StepTime>* times);
  // A single image, with as many threads as take the least time.
  void run_at_best_pace(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, int threads);
  [[nodiscard]] bool has_visits() const { return !visits_.empty() && visits_.front() < images_; }
  // Each thread does images of its own from the first step to the last, so many a round, so that no core reads what
  // another one wrote.
  void run_apart(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                 std::int64_t images, int threads, std::int64_t floats, std::vector<StepTime>* times);
  // All threads do the same images together, step by step.
  void run_rounds(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                  int threads, std::int64_t floats, std::vector<StepTime>* times);
  // Steps [0, end) on a place's images, visit by visit. over(step): it is done with a visit's.
  template <class Over>
  void visit(const RunPlace& place, std::size_t end, float* kept, const Over& over) const;
  // That each thread needs for itself.
  [[nodiscard]] std::int64_t kept_floats() const;
  // Memory of one run, or of one thread of it. The next run takes it again.
  Scratch<std::uint8_t> take_arena();
  void give_arena(Scratch<std::uint8_t> arena);

  std::int64_t arena_bytes_, margin_, images_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<std::int64_t> visits_;  // of each step
  Scratch<std::uint8_t> weights_;
  std::mutex mutex_;  // guards what follows
  std::vector<Scratch<std::uint8_t>> arenas_;
  Pace pace_;
};

}  // namespace mezzotint
