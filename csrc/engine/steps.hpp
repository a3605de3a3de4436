// What can a compiled network do? One step for each pass over memory, with all that it needs but the memory itself.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/activation.hpp"
#include "core/planes.hpp"
#include "core/tensor.hpp"
#include "isa/table.hpp"

namespace mezzotint {

// Where a run finds its numbers.
struct RunPlace {
  const Kernels* kernels = nullptr;
  std::uint8_t* arena = nullptr;
  const std::vector<const float*>* inputs = nullptr;  // at the first image
  const std::vector<float*>* outputs = nullptr;
  std::int64_t images = 0;
  int threads = 1;
  std::int64_t first = 0;  // of the images, among those of the arena's round; a whole number of those abreast
};

constexpr std::int64_t kAnyImages = std::int64_t{1} << 32;

// Planes in the arena: `data` of the shape is null, `offset` counts bytes.
struct ArenaPlanes {
  std::int64_t offset = 0;
  Planes shape;
  std::int64_t room = kAnyImages;  // for so many images; the next ones take the same places again

  // Planes that hold a place's images: as many as there are, or fewer where some lie abreast.
  [[nodiscard]] std::int64_t count(const RunPlace& place) const;
  [[nodiscard]] Planes at(const RunPlace& place, std::int64_t number) const;
  // One image alone.
  [[nodiscard]] Planes image_at(const RunPlace& place, std::int64_t image) const;
};

// Numbers of images as rows of cells in the arena, filled up with zeros.
struct ArenaRows {
  std::int64_t offset = 0, cells = 0;
  std::int64_t room = kAnyImages;

  [[nodiscard]] std::uint8_t* at(const RunPlace& place, std::int64_t image) const;
};

// Where the numbers of a step go that leave the planes: rows in the arena, or an output of the network in FP32.
struct RowsOrOutput {
  ArenaRows rows;
  std::int64_t output = -1;  // its number, or -1
  std::int64_t size = 0;     // numbers of an image
};

// How a convolution or linear layer is summed, how many cells at once, and the input channels in how many parts.
struct Choice {
  Summing summing = Summing::kPairs;
  std::int64_t tile = 0;
  std::int64_t parts = 1;
};

class Step {
 public:
  Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  virtual ~Step() = default;
  // Independent parts of the work; depends on the place's images and threads, results do not.
  [[nodiscard]] virtual std::int64_t tasks(const RunPlace& place) const = 0;
  // kept: memory of the thread, kept_floats() of them, which throws where the kernels cannot do what was chosen.
  virtual void work(const RunPlace& place, std::int64_t task, float* kept) const = 0;
  [[nodiscard]] virtual std::int64_t kept_floats(const Kernels& /*kernels*/) const { return 0; }
  // The kernels that can do it, where there are several; not to be changed while it runs.
  [[nodiscard]] virtual std::vector<Choice> choices(const Kernels& /*kernels*/) const { return {}; }
  [[nodiscard]] virtual Choice choice() const { return {}; }
  virtual void choose(Choice /*choice*/) {}
  // The last choice: weights that are read from first to last move to `room`, weight_bytes() of them; what other
  // kernels need is forgotten.
  [[nodiscard]] virtual std::int64_t weight_bytes() const { return 0; }
  virtual void settle(std::uint8_t* /*room*/) {}
};

// The phases of an input (number `input` of the network), or of planes if that is -1.
struct SplitSource {
  std::int64_t input = -1;
  ArenaPlanes planes;
  std::int64_t channels = 0, height = 0, width = 0;  // the width of an input, or of all images abreast
};
std::unique_ptr<Step> make_split(const SplitSource& x, std::int64_t stride_h, std::int64_t stride_w,
                                 const ArenaPlanes& y, float fill);

// A convolution of phases: weight.values are FP32; tap_offsets[tap] is where a tap lies relative to the output's pixel
// in the input channel 0, in elements, its phase included.
struct ConvStep {
  ArenaPlanes x, y;
  bool keeps_y;                 // or only its phases are wanted
  const ArenaPlanes* phases;    // or null
  const ArenaPlanes* residual;  // or null
  SparseWeight weight;
  Conv conv;
  std::vector<std::int64_t> tap_offsets;
  std::vector<std::int64_t>
      input_offsets;  // of each input of an output, if they are no taps of channels of x; or empty
  std::vector<float> bias;
  Activation after;
  bool matrices;  // whether there is a matrix unit
};
std::unique_ptr<Step> make_conv(const ConvStep& conv);

// Copies of channels within planes, all borders included, `column` columns further left: who reads them where they lie
// reads that many columns further right.
struct Shift {
  std::int64_t from, to, column;  // channels
};
std::unique_ptr<Step> make_shift(const ArenaPlanes& x, std::int64_t channels, const std::vector<Shift>& shifts);

// The maximum over taps, each of so many elements from the output's pixel, or from the pixel at twice its row and
// column.
std::unique_ptr<Step> make_max(const ArenaPlanes& x, const ArenaPlanes& y, bool halved,
                               const std::vector<std::int64_t>& tap_offsets);
// y = after(x * factor): the factor has as many pixels as x, or one.
std::unique_ptr<Step> make_product_of_planes(const ArenaPlanes& x, const ArenaPlanes& factor, const ArenaPlanes& y,
                                             Activation after);
// Each pixel factor_h * factor_w times.
std::unique_ptr<Step> make_spread(const ArenaPlanes& x, const ArenaPlanes& y, std::int64_t factor_h,
                                  std::int64_t factor_w);
std::unique_ptr<Step> make_average(const ArenaPlanes& x, const ArenaPlanes& y);
std::unique_ptr<Step> make_flatten(const ArenaPlanes& x, const RowsOrOutput& y);
// Rows of an input [N, size].
std::unique_ptr<Step> make_rows(Dtype dtype, std::int64_t input, std::int64_t size, const ArenaRows& y);
// weight: [y.size, size], contiguous; its zeros are left out if that is faster.
std::unique_ptr<Step> make_product(Dtype dtype, const ArenaRows& x, const float* weight, std::int64_t size,
                                   const std::vector<float>& bias, Activation after, const RowsOrOutput& y);

}  // namespace mezzotint
