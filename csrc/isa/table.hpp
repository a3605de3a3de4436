// Which functions does an instruction-set variant offer? One table a variant, chosen at run time by isa/select.cpp.
//
// To add a variant (say AVX-512 with BF16 dot products): one more unit beside avx512.cpp that fills in a Kernels table
// from its own kernels, one line in select.cpp, one in CMakeLists.txt with its compiler flags.
#pragma once

#include "kernels/jobs.hpp"

namespace mezzotint {

struct Kernels {
  const char* name;
  std::int64_t tile_cells;  // cells of the output that the gather kernel keeps in registers at most

  // Tiles [first_tile, last_tile) of the job, in the order (block, row tile, column tile), for output channels
  // [first_channel, last_channel).
  void (*gather)(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
                 std::int64_t last_channel);
  // Nonzeros [first, last) of the job.
  void (*weight_grad)(const WeightGradJob& job, std::int64_t first, std::int64_t last);
  void (*pack_row)(const PackJob& job, std::int64_t block, std::int64_t stored_row);
  void (*unpack_row)(const PackJob& job, std::int64_t block, std::int64_t row);
};

extern const Kernels kPortable;
#ifdef MEZZOTINT_X86
extern const Kernels kAvx2;
extern const Kernels kAvx512;
#endif

}  // namespace mezzotint
