#include "drive/levels.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kValues = 256;  // of a level
constexpr std::int64_t kLanes = 16;    // values that one vector operation handles, about

// One side of a resize: what it reads and how. A side that keeps its size is not resampled.
struct Side {
  std::int64_t begin, end;  // the inputs that it reads
  std::optional<TapPlan> plan;

  Side(Filter filter, std::int64_t from, std::int64_t to, std::int64_t first, std::int64_t last)
      : begin(first), end(last) {
    TapPlan found(filter, from, to, first, last);
    if (from != to) {
      begin = found.begin();
      end = found.end();
      plan = std::move(found);
    }
  }

  [[nodiscard]] std::int64_t length() const { return end - begin; }
};

Side rows_of(Filter filter, Extent from, Extent to, const Box& window) {
  return {filter, from.height, to.height, window.top, window.top + window.height};
}

Side columns_of(Filter filter, Extent from, Extent to, const Box& window) {
  return {filter, from.width, to.width, window.left, window.left + window.width};
}

void mirror(const Levels& image) {
  for (std::int64_t y = 0; y < image.height; ++y) {
    std::uint8_t* const row = image.data + y * image.stride;
    for (std::int64_t x = 0; x < image.width / 2; ++x) {
      std::swap_ranges(row + x * image.channels, row + (x + 1) * image.channels,
                       row + (image.width - 1 - x) * image.channels);
    }
  }
}

// Pillow's rule since version 13; up to then the width was always first, which for tall images differs by a level.
bool height_first(Extent from, Extent to) {
  return from.height > to.height && from.height - to.height > 2 * (from.width - to.width);
}

// Across the columns: rows of `image` into as many rows of `result`.
void resample_width(const Levels& image, const Taps& taps, const Levels& result, const Context& with) {
  const ResampleJob job{image.data, image.stride, image.height, result.data, result.stride, image.channels, taps};
  const std::int64_t blocks = (image.height + kResampleRows - 1) / kResampleRows;
  const std::int64_t bytes = (image.width + result.width) * image.channels * kResampleRows;
  const int team = useful_threads(image.height * result.width * image.channels * taps.count / kLanes, with.threads);
  parallel_ranges(blocks, team, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<std::uint8_t> scratch(bytes);
    for (std::int64_t block = begin; block < end; ++block) {
      with.kernels.resample_rows(job, block, scratch.get());
    }
  });
}

void resample_height(const Levels& image, const Taps& taps, const Levels& result, const Context& with) {
  const ResampleJob job{image.data, image.stride, image.height, result.data, result.stride, image.channels, taps};
  const std::int64_t bytes = result.width * result.channels;
  const int team = useful_threads(result.height * bytes * taps.count / kLanes, with.threads);
  parallel_for(result.height, team, [&](std::int64_t y) { with.kernels.resample_across(job, y, bytes); });
}

void look_up(const std::uint8_t* row, std::int64_t width, const float* tables, float* red, float* green, float* blue) {
  for (std::int64_t x = 0; x < width; ++x) {
    red[x] = tables[row[3 * x]];
    green[x] = tables[kValues + row[3 * x + 1]];
    blue[x] = tables[2 * kValues + row[3 * x + 2]];
  }
}

// Whether the kernel has the bits of the tables for each level.
bool can_be_computed(PlanesJob job, const float* tables, const Kernels& kernels) {
  std::uint8_t levels[3 * kValues];
  float values[3 * kValues];
  for (std::int64_t i = 0; i < 3 * kValues; ++i) {
    levels[i] = static_cast<std::uint8_t>(i / 3);
  }
  job.from = levels;
  for (std::int64_t c = 0; c < 3; ++c) {
    job.to[c] = values + c * kValues;
  }
  kernels.normalise_pixels(job, kValues);
  return std::memcmp(values, tables, sizeof values) == 0;
}

void require(bool condition, const char* text) {
  if (!condition) {
    throw InvalidInput(text);
  }
}

}  // namespace

Box resize_reach(Filter filter, Extent from, Extent to, const Box& window) {
  // The outermost outputs tell.
  const Box first{window.top, window.left, std::min<std::int64_t>(window.height, 1),
                  std::min<std::int64_t>(window.width, 1)};
  const Box last{window.top + window.height - 1, window.left + window.width - 1, 1, 1};
  const std::int64_t top = rows_of(filter, from, to, first).begin, left = columns_of(filter, from, to, first).begin;
  return {top, left, rows_of(filter, from, to, last).end - top, columns_of(filter, from, to, last).end - left};
}

void resize_levels(const Resizing& how, const Box& held, const Levels& image, const Levels& result,
                   const Context& with) {
  const auto& [filter, from, to, window, mirrored] = how;
  const Side rows = rows_of(filter, from, to, window);
  Side columns = columns_of(filter, from, to, window);
  require(held.top >= 0 && held.left >= 0 && held.top <= rows.begin && held.left <= columns.begin &&
              held.top + held.height >= rows.end && held.left + held.width >= columns.end,
          "resize: the part of the image in memory does not hold what the window depends on");
  require(image.height == held.height && image.width == held.width && result.height == window.height &&
              result.width == window.width && image.channels == result.channels &&
              (image.channels == 1 || image.channels == 3),
          "resize: received tensors whose shapes do not fit the parts; allowed: [H, W, 1] or [H, W, 3] of these sizes");
  const std::int64_t channels = image.channels;
  const Levels read{image.data + (rows.begin - held.top) * image.stride + (columns.begin - held.left) * channels,
                    image.stride, rows.length(), columns.length(), channels};
  if (mirrored && columns.plan) {
    columns.plan->mirror();
  }
  if (rows.plan && columns.plan) {
    const bool first_down = height_first(from, to);
    const std::int64_t height = first_down ? window.height : read.height;
    const std::int64_t width = first_down ? read.width : window.width;
    const Scratch<std::uint8_t> kept(height * width * channels);
    const Levels between{kept.get(), width * channels, height, width, channels};
    if (first_down) {
      resample_height(read, rows.plan->taps(), between, with);
      resample_width(between, columns.plan->taps(), result, with);
    } else {
      resample_width(read, columns.plan->taps(), between, with);
      resample_height(between, rows.plan->taps(), result, with);
    }
  } else if (rows.plan) {
    resample_height(read, rows.plan->taps(), result, with);
  } else if (columns.plan) {
    resample_width(read, columns.plan->taps(), result, with);
  } else {
    for (std::int64_t y = 0; y < read.height; ++y) {
      std::copy_n(read.data + y * read.stride, read.width * channels, result.data + y * result.stride);
    }
  }
  if (mirrored && !columns.plan) {
    mirror(result);
  }
}

void normalise_levels(const std::vector<Levels>& images, float* planes, const float* mean, const float* std,
                      const Context& with) {
  if (images.empty()) {
    return;
  }
  // A level has 256 values: their quotients are computed once a channel, in the operations of torchvision, and looked
  // up, which is faster than two divisions a value and has the same bits on every CPU. Three channels are computed
  // without divisions where that gives all of these values.
  const std::int64_t channels = images[0].channels, height = images[0].height, width = images[0].width;
  const Scratch<float> tables(channels * kValues);
  for (std::int64_t i = 0; i < channels * kValues; ++i) {
    const float quotient = static_cast<float>(i % kValues) / 255.0F;
    tables[i] = mean ? (quotient - mean[i / kValues]) / std[i / kValues] : quotient;
  }
  PlanesJob constants{nullptr, {}, {0, 0, 0}, {1, 1, 1}};
  const bool three = channels == 3;
  if (three && mean) {
    std::copy_n(mean, 3, constants.mean);
    std::copy_n(std, 3, constants.std);
  }
  const bool computed = three && width >= kLanes && can_be_computed(constants, tables.get(), with.kernels);
  const std::int64_t pixels = height * width, rows = static_cast<std::int64_t>(images.size()) * height;
  parallel_for(rows, useful_threads(rows * width * channels / 2, with.threads), [&](std::int64_t at) {
    const Levels& image = images[static_cast<std::size_t>(at / height)];
    const std::int64_t y = at % height;
    const std::uint8_t* const row = image.data + y * image.stride;
    float* const to = planes + at / height * channels * pixels + y * width;
    if (computed) {
      PlanesJob job = constants;
      job.from = row;
      for (std::int64_t c = 0; c < 3; ++c) {
        job.to[c] = to + c * pixels;
      }
      with.kernels.normalise_pixels(job, width);
    } else if (three) {  // a pixel at a time: its bytes are read together
      look_up(row, width, tables.get(), to, to + pixels, to + 2 * pixels);
    } else {
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t x = 0; x < width; ++x) {
          to[c * pixels + x] = tables[c * kValues + row[x * channels + c]];
        }
      }
    }
  });
}

}  // namespace mezzotint
