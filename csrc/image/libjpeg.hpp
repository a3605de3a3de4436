// How is libjpeg called? Found at run time, with a decompressor that each thread keeps, and out of whose faults every
// call comes back. Only for the files beside this one: see image/jpeg.hpp.
#pragma once

#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <string>

#include "image/entropy.hpp"

extern "C" {
#include "third_party/libjpeg-turbo/jpeglib.h"
}

namespace mezzotint {

struct Library {
  decltype(&::jpeg_std_error) std_error;
  decltype(&::jpeg_CreateDecompress) create;
  decltype(&::jpeg_mem_src) mem_src;
  decltype(&::jpeg_read_header) read_header;
  decltype(&::jpeg_start_decompress) start;
  decltype(&::jpeg_crop_scanline) crop;
  decltype(&::jpeg_skip_scanlines) skip;
  decltype(&::jpeg_read_scanlines) read;
  decltype(&::jpeg_abort_decompress) abort;
  decltype(&::jpeg_destroy_decompress) destroy;
  bool own_entropy;  // its units can be decoded by EntropyScan
};

struct Failure {
  jpeg_error_mgr manager;  // first: libjpeg hands its address back
  std::jmp_buf retreat;
};

// What a thread keeps from file to file: libjpeg asks the CPU for its abilities whenever a decompressor is made, which
// takes 15 microseconds in a virtual machine, and tables of Huffman codes are often the same.
struct Session {
  const Library* library = nullptr;  // that made the decompressor; null: there is none
  jpeg_decompress_struct info{};
  Failure failure{};
  EntropyScan scan{};
  JDIMENSION column = 0, first_column = 0, last_column = 0;  // units of a row: the next one, and those that are wanted
  std::int64_t units = 0;                                    // decoded so far
  HuffmanTable dc[NUM_HUFF_TBLS], ac[NUM_HUFF_TBLS];

  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { forget(); }

  void forget() {
    if (library != nullptr) {
      library->destroy(&info);
      library = nullptr;
    }
  }
};

// The library that jpeg_use found; null: none yet.
const Library* library_in_use();

struct File {
  const std::uint8_t* data;
  std::size_t size;
};

// Everything between setjmp and its return must be free of destructors: hence no objects in steps.
using Step = void (*)(Session& with, const void* request, void* answer);

// Runs a step with the thread's decompressor. Returns false where libjpeg, or the step by give_up, finds a fault.
bool guarded(const Library* library, Step step, const void* request, void* answer);

// Ends the step that runs.
[[noreturn]] void give_up(jpeg_decompress_struct& info);

// Reads the header of a file, of which nothing was read yet.
void read_header(Session& with, const File& file);

// Takes the decoding of the units over from libjpeg, where they are such as EntropyScan decodes. To be called before
// the first row is read; columns [left, left + columns) are wanted.
void take_entropy_over(Session& with, JDIMENSION left, JDIMENSION columns);

}  // namespace mezzotint
