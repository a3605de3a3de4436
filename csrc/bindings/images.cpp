#include "bindings/images.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/arguments.hpp"
#include "drive/levels.hpp"
#include "image/jpeg.hpp"
#include "image/tone.hpp"
#include "isa/select.hpp"

namespace nb = nanobind;

namespace mezzotint::bindings {
namespace {

// (address, bytes between rows, height, width, channels) of uint8 levels; the channels of a pixel lie side by side.
using LevelsArgument = std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
// (top, left, height, width).
using BoxArgument = std::array<std::int64_t, 4>;
using ExtentArgument = std::array<std::int64_t, 2>;

Levels levels_of(const LevelsArgument& argument) {
  const auto& [address, stride, height, width, channels] = argument;
  return {reinterpret_cast<std::uint8_t*>(address), stride, height, width, channels};
}

Box box_of(const BoxArgument& a) {
  return {a[0], a[1], a[2], a[3]};
}

Context on(int threads) {
  return {active(), threads};
}

BoxArgument reach(int filter, const ExtentArgument& from, const ExtentArgument& to, const BoxArgument& window) {
  const Box box = resize_reach(static_cast<Filter>(filter), {from[0], from[1]}, {to[0], to[1]}, box_of(window));
  return {box.top, box.left, box.height, box.width};
}

Resizing resizing_of(int filter, const ExtentArgument& from, const ExtentArgument& to, const BoxArgument& window,
                     bool mirrored) {
  return {static_cast<Filter>(filter), {from[0], from[1]}, {to[0], to[1]}, box_of(window), mirrored};
}

void resize(int filter, const ExtentArgument& from, const ExtentArgument& to, const BoxArgument& window,
            const BoxArgument& held, const LevelsArgument& image, const LevelsArgument& result, int threads) {
  resize_levels(resizing_of(filter, from, to, window, false), box_of(held), levels_of(image), levels_of(result),
                on(threads));
}

void normalise(const std::vector<LevelsArgument>& images, std::uintptr_t planes, const Optional& mean,
               const Optional& std, int threads) {
  std::vector<Levels> levels(images.size());
  std::transform(images.begin(), images.end(), levels.begin(), levels_of);
  normalise_levels(levels, reinterpret_cast<float*>(planes), floats_of(mean, "mean"), floats_of(std, "std"),
                   on(threads));
}

const std::uint8_t* bytes_of(const nb::bytes& data) {
  return reinterpret_cast<const std::uint8_t*>(data.c_str());
}

// (height, width, components), or nothing where libjpeg finds a fault; components is 0 for other colours than RGB.
std::optional<std::tuple<std::int64_t, std::int64_t, int>> header(const nb::bytes& data) {
  JpegHeader found{};
  if (!jpeg_header(bytes_of(data), data.size(), found)) {
    return std::nullopt;
  }
  const int components = found.colours == JpegColours::kGrey ? 1 : found.colours == JpegColours::kRgb ? 3 : 0;
  return std::tuple(found.height, found.width, components);
}

// In which column of `to` the box begins; nothing: the file is not for us.
std::optional<std::int64_t> decode(const nb::bytes& data, const BoxArgument& box, const LevelsArgument& to) {
  const std::uint8_t* const bytes = bytes_of(data);
  const std::size_t size = data.size();
  const nb::gil_scoped_release released;
  const std::int64_t column = jpeg_decode(bytes, size, box_of(box), levels_of(to));
  return column < 0 ? std::nullopt : std::optional(column);
}

// A file, the box of it that is decoded, the filter, the rectangle that becomes one of size `to`, the window of that,
// whether it is mirrored, how many times smaller it is decoded, and where the result goes.
using ResizedFile =
    std::tuple<nb::bytes, BoxArgument, int, BoxArgument, ExtentArgument, BoxArgument, bool, int, LevelsArgument>;

// Whether each file is for us. The interpreter lock is given away once for all of them: a thread that waits for it
// sleeps, and is slow to wake up.
std::vector<bool> decode_resized(const std::vector<ResizedFile>& files, int threads) {
  std::vector<std::pair<const std::uint8_t*, std::size_t>> contents;
  for (const ResizedFile& file : files) {
    contents.emplace_back(bytes_of(std::get<0>(file)), std::get<0>(file).size());
  }
  std::vector<bool> good(files.size());
  const nb::gil_scoped_release released;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& [data, box, filter, source, to, window, mirrored, reduction, result] = files[i];
    const Resizing how = resizing_of(filter, {source[2], source[3]}, to, window, mirrored);
    good[i] = jpeg_resize(contents[i].first, contents[i].second, box_of(box), box_of(source), how, reduction,
                          levels_of(result), on(threads));
  }
  return good;
}

// (per channel) tables of 256 levels.
void tables(const LevelsArgument& image, const nb::bytes& of, const LevelsArgument& result) {
  const Levels from = levels_of(image);
  if (static_cast<std::int64_t>(of.size()) != from.channels * kLevelCount) {
    throw InvalidInput("level_tables: received another number of bytes; allowed: 256 for each channel");
  }
  const std::uint8_t* const bytes = bytes_of(of);
  const nb::gil_scoped_release released;
  apply_tables(from, bytes, levels_of(result));
}

void equalize(const LevelsArgument& image, const LevelsArgument& result) {
  const Levels from = levels_of(image);
  std::uint32_t counts[3 * kLevelCount];
  std::uint8_t made[3 * kLevelCount];
  count_levels(from, counts);
  equalizing_tables(counts, from.channels, made);
  apply_tables(from, made, levels_of(result));
}

// (darkest, lightest) of each channel.
std::vector<std::array<int, 2>> extremes(const LevelsArgument& image) {
  const Levels from = levels_of(image);
  std::uint32_t counts[3 * kLevelCount];
  count_levels(from, counts);
  std::vector<std::array<int, 2>> found;
  for (std::int64_t c = 0; c < from.channels; ++c) {
    int low = kLevelCount - 1, high = 0;
    for (int level = 0; level < kLevelCount; ++level) {
      if (counts[c * kLevelCount + level] != 0) {
        low = std::min(low, level);
        high = level;
      }
    }
    found.push_back({low, high});
  }
  return found;
}

void warp(const LevelsArgument& image, const std::array<std::int32_t, 6>& by, int fill, const LevelsArgument& result) {
  warp_nearest(levels_of(image), {by[0], by[1], by[2], by[3], by[4], by[5]}, static_cast<std::uint8_t>(fill),
               levels_of(result));
}

}  // namespace

void add_image_functions(nb::module_& m) {
  using nb::call_guard;
  using nb::gil_scoped_release;
  m.def("resize_reach", &reach);
  m.def("resize_levels", &resize, call_guard<gil_scoped_release>());
  m.def("normalise_levels", &normalise, call_guard<gil_scoped_release>(), nb::arg(), nb::arg(), nb::arg().none(),
        nb::arg().none(), nb::arg());
  m.def("jpeg_use", &jpeg_use);
  m.def("jpeg_own_entropy", &jpeg_own_entropy);
  m.def("jpeg_header", &header);
  m.def("jpeg_decode", &decode);
  m.def("jpeg_resize", &decode_resized);
  m.def("level_tables", &tables);
  m.def("level_extremes", &extremes);
  m.def("equalize_levels", &equalize, call_guard<gil_scoped_release>());
  m.def(
      "luma_sum", [](const LevelsArgument& image) { return luma_sum(levels_of(image)); },
      call_guard<gil_scoped_release>());
  m.def(
      "blend_with_grey",
      [](const LevelsArgument& image, float factor, const LevelsArgument& result) {
        blend_with_grey(levels_of(image), factor, levels_of(result));
      },
      call_guard<gil_scoped_release>());
  m.def(
      "blend_with_smooth",
      [](const LevelsArgument& image, float factor, const LevelsArgument& result) {
        blend_with_smooth(levels_of(image), factor, levels_of(result));
      },
      call_guard<gil_scoped_release>());
  m.def("warp_levels", &warp, call_guard<gil_scoped_release>());
  m.attr("jpeg_margin") = kJpegMargin;
}

}  // namespace mezzotint::bindings
