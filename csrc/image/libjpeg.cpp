#include "image/libjpeg.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <iterator>
#include <vector>

#include "image/jpeg.hpp"

namespace mezzotint {
namespace {

std::atomic<const Library*> in_use{nullptr};

// How all versions of libjpeg and libjpeg-turbo with the ABI of 6.2 begin this structure (their jpegint.h). It is not
// part of the ABI: whether it is so is found out in entropy_can_be_ours.
struct EntropyDecoder {
  void (*start_pass)(j_decompress_ptr);
  boolean (*decode_mcu)(j_decompress_ptr, JBLOCKROW*);
};

Session& session() {
  thread_local Session kept;
  return kept;
}

[[noreturn]] void retreat(j_common_ptr info) {
  std::longjmp(reinterpret_cast<Failure*>(info->err)->retreat, 1);
}

// A warning is a fault as well: nothing is made up for missing data. Traces (level 0 and above) are not.
void judge(j_common_ptr info, int level) {
  if (level < 0) {
    retreat(info);
  }
}

void say_nothing(j_common_ptr /*unused*/) {}

// A decompressor keeps the tables of the last file for files without: they must not be taken for this one's. A
// quantiser of zero marks those of which nothing was read since, two codes of no bits those of Huffman.
void spoil_tables(jpeg_decompress_struct& info) {
  for (int i = 0; i < NUM_QUANT_TBLS; ++i) {
    if (info.quant_tbl_ptrs[i] != nullptr) {
      info.quant_tbl_ptrs[i]->quantval[0] = 0;
    }
  }
  for (int i = 0; i < NUM_HUFF_TBLS; ++i) {
    for (JHUFF_TBL* table : {info.dc_huff_tbl_ptrs[i], info.ac_huff_tbl_ptrs[i]}) {
      if (table != nullptr) {
        table->bits[1] = 3;  // more codes of one bit than there are: refused wherever it is used
      }
    }
  }
}

// In the place of libjpeg's own: the next unit, of which the columns beside the wanted ones are passed over.
boolean decode_unit(j_decompress_ptr info, JBLOCKROW* blocks) {
  Session& with = *static_cast<Session*>(info->client_data);
  const JDIMENSION column = with.column;
  with.column = column + 1 == info->MCUs_per_row ? 0 : column + 1;
  const bool wanted = column >= with.first_column && column <= with.last_column;
  ++with.units;
  if (!with.scan.unit(wanted ? blocks : nullptr)) {
    give_up(*info);
  }
  return TRUE;
}

// One scan of Huffman codes that holds every coefficient, from beginning to end.
bool is_baseline(const jpeg_decompress_struct& info) {
  return info.progressive_mode == FALSE && info.arith_code == FALSE && info.data_precision == 8 &&
         info.comps_in_scan == info.num_components && info.Ss == 0 && info.Se == DCTSIZE2 - 1 && info.Ah == 0 &&
         info.Al == 0;
}

bool make_table(HuffmanTable& table, const JHUFF_TBL* spec, bool differences) {
  return spec != nullptr && table.make({spec->bits, spec->huffval}, differences);
}

// A grey image of two blocks, the first of which has two coefficients.
std::vector<std::uint8_t> two_blocks() {
  std::vector<std::uint8_t> file{0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0};
  file.insert(file.end(), DCTSIZE2, 8);  // all quantisers
  const std::uint8_t frame[] = {0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0};
  file.insert(file.end(), std::begin(frame), std::end(frame));
  // Of one bit: a difference of six bits, the end of a block. Of two: no difference, a value of three bits.
  for (const std::array<std::uint8_t, 3> table : {std::array<std::uint8_t, 3>{0x00, 6, 0}, {0x10, 0x00, 0x13}}) {
    file.insert(file.end(), {0xFF, 0xC4, 0, 21, table[0], 1, 1});
    file.insert(file.end(), 14, 0);
    file.insert(file.end(), {table[1], table[2]});
  }
  file.insert(file.end(), {0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x51, 0x54, 0xFF, 0xD9});
  return file;
}

bool same_library(const void* one, const void* other) {
  Dl_info first{}, second{};
  return dladdr(one, &first) != 0 && dladdr(other, &second) != 0 && first.dli_fbase == second.dli_fbase;
}

void take_nothing(Session& /*unused*/, const void* /*unused*/, void* /*unused*/) {}

struct Probe {
  File file;
  bool ours;
  std::uint8_t levels[DCTSIZE][2 * DCTSIZE][3];
};

// answer: how many units were ours.
void take_probe(Session& with, const void* request, void* answer) {
  auto& [file, ours, levels] = *static_cast<Probe*>(const_cast<void*>(request));
  jpeg_decompress_struct& info = with.info;
  read_header(with, file);
  info.out_color_space = JCS_RGB;
  with.library->start(&info);
  const auto* const entropy = reinterpret_cast<const EntropyDecoder*>(info.entropy);
  with.units = 0;
  if (ours) {
    if (!same_library(reinterpret_cast<const void*>(entropy->decode_mcu),
                      reinterpret_cast<const void*>(with.library->create))) {
      give_up(info);
    }
    take_entropy_over(with, 0, info.image_width);
  }
  for (JDIMENSION y = 0; y < DCTSIZE;) {
    JSAMPROW row = levels[y][0];
    y += with.library->read(&info, &row, 1);
  }
  *static_cast<std::int64_t*>(answer) = with.units;
}

// Whether libjpeg asks our function for each unit, and does with it what it does with its own.
bool entropy_can_be_ours(const Library& library) {
  const std::vector<std::uint8_t> bytes = two_blocks();
  const File file{bytes.data(), bytes.size()};
  Probe theirs{file, false, {}}, ours{file, true, {}};
  std::int64_t none = 0, both = 0;
  return guarded(&library, take_probe, &theirs, &none) && guarded(&library, take_probe, &ours, &both) && none == 0 &&
         both == 2 && std::memcmp(theirs.levels, ours.levels, sizeof ours.levels) == 0;
}

template <class Function>
bool look_up(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  return function != nullptr;
}

}  // namespace

void give_up(jpeg_decompress_struct& info) {
  retreat(reinterpret_cast<j_common_ptr>(&info));
}

const Library* library_in_use() {
  return in_use.load(std::memory_order_acquire);
}

bool guarded(const Library* library, Step step, const void* request, void* answer) {
  if (library == nullptr) {
    return false;
  }
  Session& with = session();
  if (with.library != library) {
    with.forget();
    with.info = {};
    with.info.err = library->std_error(&with.failure.manager);
    with.failure.manager.error_exit = retreat;
    with.failure.manager.emit_message = judge;
    with.failure.manager.output_message = say_nothing;
  }
  if (setjmp(with.failure.retreat) != 0) {
    if (with.library == nullptr) {  // it could not even be made
      library->destroy(&with.info);
    } else {
      with.forget();
    }
    return false;
  }
  if (with.library == nullptr) {
    library->create(&with.info, JPEG_LIB_VERSION, sizeof with.info);
    with.info.client_data = &with;
    with.library = library;
  }
  step(with, request, answer);
  library->abort(&with.info);
  return true;
}

void read_header(Session& with, const File& file) {
  jpeg_decompress_struct& info = with.info;
  spoil_tables(info);
  with.library->mem_src(&info, file.data, static_cast<unsigned long>(file.size));
  with.library->read_header(&info, TRUE);
  for (int i = 0; i < info.num_components; ++i) {
    const JQUANT_TBL* const table =
        info.quant_tbl_ptrs[std::clamp(info.comp_info[i].quant_tbl_no, 0, NUM_QUANT_TBLS - 1)];
    if (table != nullptr && table->quantval[0] == 0) {
      give_up(info);
    }
  }
}

void take_entropy_over(Session& with, JDIMENSION left, JDIMENSION columns) {
  jpeg_decompress_struct& info = with.info;
  if (!is_baseline(info)) {
    return;
  }
  EntropyScan& scan = with.scan;
  scan = {};
  scan.next = info.src->next_input_byte;
  scan.end = scan.next + info.src->bytes_in_buffer;
  scan.restart_interval = scan.until_restart = info.restart_interval;
  scan.blocks = info.blocks_in_MCU;
  for (int i = 0; i < scan.blocks; ++i) {
    const int component = info.MCU_membership[i];
    const jpeg_component_info& described = *info.cur_comp_info[component];
    scan.component[i] = static_cast<std::uint8_t>(component);
    scan.dc[i] = &with.dc[described.dc_tbl_no];
    scan.ac[i] = &with.ac[described.ac_tbl_no];
    if (!make_table(with.dc[described.dc_tbl_no], info.dc_huff_tbl_ptrs[described.dc_tbl_no], true) ||
        !make_table(with.ac[described.ac_tbl_no], info.ac_huff_tbl_ptrs[described.ac_tbl_no], false)) {
      return;
    }
  }
  const JDIMENSION unit = DCTSIZE * static_cast<JDIMENSION>(info.num_components == 1 ? 1 : info.max_h_samp_factor);
  with.column = 0;
  with.first_column = left / unit;
  with.last_column = (left + columns - 1) / unit;
  with.units = 0;
  reinterpret_cast<EntropyDecoder*>(info.entropy)->decode_mcu = decode_unit;
}

bool jpeg_own_entropy() {
  const Library* const library = library_in_use();
  return library != nullptr && library->own_entropy;
}

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
      look_up(handle, "jpeg_abort_decompress", found.abort) &&
      look_up(handle, "jpeg_destroy_decompress", found.destroy);
  if (!complete) {
    dlclose(handle);
    return "it lacks a function of libjpeg-turbo 1.5 or later";
  }
  const bool fits = guarded(&found, take_nothing, nullptr, nullptr);
  found.own_entropy = fits && entropy_can_be_ours(found);
  session().forget();  // before `found` goes
  if (!fits) {
    dlclose(handle);
    return "its ABI is not that of libjpeg 6.2";
  }
  // Neither closed nor freed: its functions may run in other threads, whose decompressors are its own.
  in_use.store(new Library(found), std::memory_order_release);
  return {};
}

}  // namespace mezzotint
