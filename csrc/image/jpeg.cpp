#include "image/jpeg.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <csetjmp>
#include <cstdio>

extern "C" {
#include "third_party/libjpeg-turbo/jpeglib.h"
}

namespace mezzotint {
namespace {

struct Library {
  decltype(&::jpeg_std_error) std_error;
  decltype(&::jpeg_CreateDecompress) create;
  decltype(&::jpeg_mem_src) mem_src;
  decltype(&::jpeg_read_header) read_header;
  decltype(&::jpeg_start_decompress) start;
  decltype(&::jpeg_crop_scanline) crop;
  decltype(&::jpeg_skip_scanlines) skip;
  decltype(&::jpeg_read_scanlines) read;
  decltype(&::jpeg_destroy_decompress) destroy;
};

std::atomic<const Library*> in_use{nullptr};

constexpr std::int64_t kContext = 16;  // columns beside a box whose colours its own are interpolated from
constexpr std::int64_t kRowsAtOnce = 8;

struct Failure {
  jpeg_error_mgr manager;  // first: libjpeg hands its address back
  std::jmp_buf retreat;
};

[[noreturn]] void give_up(j_common_ptr info) {
  std::longjmp(reinterpret_cast<Failure*>(info->err)->retreat, 1);
}

// A warning is a fault as well: nothing is made up for missing data. Traces (level 0 and above) are not.
void judge(j_common_ptr info, int level) {
  if (level < 0) {
    give_up(info);
  }
}

void say_nothing(j_common_ptr /*unused*/) {}

// Everything between setjmp and its return must be free of destructors: hence no objects in here or below.
using Step = void (*)(const Library& library, jpeg_decompress_struct& info, const void* request, void* answer);

bool guarded(const Library* library, Step step, const void* request, void* answer) {
  if (library == nullptr) {
    return false;
  }
  jpeg_decompress_struct info{};
  Failure failure;
  info.err = library->std_error(&failure.manager);
  failure.manager.error_exit = give_up;
  failure.manager.emit_message = judge;
  failure.manager.output_message = say_nothing;
  if (setjmp(failure.retreat) != 0) {
    library->destroy(&info);
    return false;
  }
  library->create(&info, JPEG_LIB_VERSION, sizeof info);
  step(*library, info, request, answer);
  library->destroy(&info);
  return true;
}

struct File {
  const std::uint8_t* data;
  std::size_t size;
};

void read_header(const Library& library, jpeg_decompress_struct& info, const File& file) {
  library.mem_src(&info, file.data, static_cast<unsigned long>(file.size));
  library.read_header(&info, TRUE);
}

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

void take_nothing(const Library& /*unused*/, jpeg_decompress_struct& /*unused*/, const void* /*unused*/,
                  void* /*unused*/) {}

void take_header(const Library& library, jpeg_decompress_struct& info, const void* request, void* answer) {
  read_header(library, info, *static_cast<const File*>(request));
  *static_cast<JpegHeader*>(answer) = {info.image_height, info.image_width, colours_of(info)};
}

struct Request {
  File file;
  Box box;
  Levels to;
};

// answer: the column in which the box begins.
void take_box(const Library& library, jpeg_decompress_struct& info, const void* request, void* answer) {
  const auto& [file, box, to] = *static_cast<const Request*>(request);
  read_header(library, info, file);
  const std::int64_t height = info.image_height, width = info.image_width;
  if (colours_of(info) == JpegColours::kOther || box.top + box.height > height || box.left + box.width > width) {
    give_up(reinterpret_cast<j_common_ptr>(&info));
  }
  info.out_color_space = JCS_RGB;
  library.start(&info);
  JDIMENSION left = 0, columns = info.image_width;
  if (box.width < width) {
    left = static_cast<JDIMENSION>(std::max<std::int64_t>(box.left - kContext, 0));
    columns = static_cast<JDIMENSION>(std::min(box.left + box.width + kContext, width)) - left;
    library.crop(&info, &left, &columns);  // moves them outward to whole blocks
  }
  if (columns > to.width) {
    give_up(reinterpret_cast<j_common_ptr>(&info));
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

template <class Function>
bool look_up(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  return function != nullptr;
}

}  // namespace

std::string jpeg_use(const std::string& path) {
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return dlerror();
  }
  Library found{};
  const bool complete =
      look_up(handle, "jpeg_std_error", found.std_error) && look_up(handle, "jpeg_CreateDecompress", found.create) &&
      look_up(handle, "jpeg_mem_src", found.mem_src) && look_up(handle, "jpeg_read_header", found.read_header) &&
      look_up(handle, "jpeg_start_decompress", found.start) && look_up(handle, "jpeg_crop_scanline", found.crop) &&
      look_up(handle, "jpeg_skip_scanlines", found.skip) && look_up(handle, "jpeg_read_scanlines", found.read) &&
      look_up(handle, "jpeg_destroy_decompress", found.destroy);
  if (!complete) {
    dlclose(handle);
    return "it lacks a function of libjpeg-turbo 1.5 or later";
  }
  if (!guarded(&found, take_nothing, nullptr, nullptr)) {
    dlclose(handle);
    return "its ABI is not that of libjpeg 6.2";
  }
  static Library kept;  // never closed: its functions may run in other threads
  kept = found;
  in_use.store(&kept, std::memory_order_release);
  return {};
}

bool jpeg_header(const std::uint8_t* data, std::size_t size, JpegHeader& header) {
  const File file{data, size};
  return guarded(in_use.load(std::memory_order_acquire), take_header, &file, &header);
}

std::int64_t jpeg_decode(const std::uint8_t* data, std::size_t size, const Box& box, const Levels& to) {
  const Request request{{data, size}, box, to};
  std::int64_t column = -1;
  const bool good =
      ends_properly(data, size) && guarded(in_use.load(std::memory_order_acquire), take_box, &request, &column);
  return good ? column : -1;
}

}  // namespace mezzotint
