#include "image/jpeg.hpp"

#include <algorithm>

#include "core/divide.hpp"
#include "image/libjpeg.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kContext = 16;  // columns beside a box whose colours its own are interpolated from
constexpr std::int64_t kRowsAtOnce = 8;

JpegColours colours_of(const jpeg_decompress_struct& info) {
  switch (info.jpeg_color_space) {
    case JCS_GRAYSCALE:
      return JpegColours::kGrey;
    case JCS_RGB:
    case JCS_YCbCr:
      return JpegColours::kRgb;
    default:
      return JpegColours::kOther;
  }
}

void take_header(Session& with, const void* request, void* answer) {
  read_header(with, *static_cast<const File*>(request));
  *static_cast<JpegHeader*>(answer) = {with.info.image_height, with.info.image_width, colours_of(with.info)};
}

struct Request {
  File file;
  Box box;
  Levels to;
  int reduction;
  bool own_entropy;
};

// answer: the column in which the box begins.
void take_box(Session& with, const void* request, void* answer) {
  const auto& [file, box, to, reduction, own_entropy] = *static_cast<const Request*>(request);
  const Library& library = *with.library;
  jpeg_decompress_struct& info = with.info;
  read_header(with, file);
  const std::int64_t height = divide_up(info.image_height, reduction), width = divide_up(info.image_width, reduction);
  if (colours_of(info) == JpegColours::kOther || box.top + box.height > height || box.left + box.width > width) {
    give_up(info);
  }
  info.out_color_space = JCS_RGB;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(reduction);
  library.start(&info);
  JDIMENSION left = 0, columns = info.output_width;
  if (box.width < width) {
    left = static_cast<JDIMENSION>(std::max<std::int64_t>(box.left - kContext, 0));
    columns = static_cast<JDIMENSION>(std::min(box.left + box.width + kContext, width)) - left;
    library.crop(&info, &left, &columns);  // moves them outward to whole blocks
  }
  if (columns > to.width) {
    give_up(info);
  }
  if (own_entropy) {
    take_entropy_over(with, left * info.scale_denom, columns * info.scale_denom);
  }
  if (box.top > 0) {
    library.skip(&info, static_cast<JDIMENSION>(box.top));
  }
  for (std::int64_t y = 0; y < box.height;) {
    JSAMPROW rows[kRowsAtOnce];
    const std::int64_t wanted = std::min(kRowsAtOnce, box.height - y);
    for (std::int64_t i = 0; i < wanted; ++i) {
      rows[i] = to.data + (y + i) * to.stride;
    }
    y += library.read(&info, rows, static_cast<JDIMENSION>(wanted));
  }
  *static_cast<std::int64_t*>(answer) = box.left - static_cast<std::int64_t>(left);
}

// A file that is cut off lacks its last mark, which some writers pad with a few bytes.
bool ends_properly(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kPadding = 64;
  for (std::size_t at = size; at >= 2 && at + kPadding > size; --at) {
    if (data[at - 2] == 0xFF && data[at - 1] == 0xD9) {
      return true;
    }
  }
  return false;
}

// The pixels of the reduced image that hold any of the box.
Box reduced(const Box& box, int by) {
  const std::int64_t top = box.top / by, left = box.left / by;
  return {top, left, divide_up(box.top + box.height, by) - top, divide_up(box.left + box.width, by) - left};
}

}  // namespace

bool jpeg_header(const std::uint8_t* data, std::size_t size, JpegHeader& header) {
  const File file{data, size};
  return guarded(library_in_use(), take_header, &file, &header);
}

std::int64_t jpeg_decode(const std::uint8_t* data, std::size_t size, const Box& box, const Levels& to, int reduction) {
  const Library* const library = library_in_use();
  if (library == nullptr || !ends_properly(data, size)) {
    return -1;
  }
  std::int64_t column = -1;
  Request request{{data, size}, box, to, reduction, library->own_entropy};
  if (guarded(library, take_box, &request, &column)) {
    return column;
  }
  request.own_entropy = false;  // what we do not understand, libjpeg may
  return library->own_entropy && guarded(library, take_box, &request, &column) ? column : -1;
}

bool jpeg_resize(const std::uint8_t* data, std::size_t size, Box box, Box source, Resizing how, int reduction,
                 const Levels& result, const Context& with) {
  if (reduction > 1) {
    box = reduced(box, reduction);
    source = {source.top / reduction, source.left / reduction, std::max<std::int64_t>(source.height / reduction, 1),
              std::max<std::int64_t>(source.width / reduction, 1)};
    how.from = {source.height, source.width};
  }
  const std::int64_t width = box.width + 2 * kJpegMargin;
  const Scratch<std::uint8_t> rows(box.height * width * 3);
  const Levels decoded{rows.get(), width * 3, box.height, width, 3};
  const std::int64_t column = jpeg_decode(data, size, box, decoded, reduction);
  if (column < 0) {
    return false;
  }
  const Levels image{decoded.data + column * 3, decoded.stride, box.height, box.width, 3};
  resize_levels(how, {box.top - source.top, box.left - source.left, box.height, box.width}, image, result, with);
  return true;
}

}  // namespace mezzotint
