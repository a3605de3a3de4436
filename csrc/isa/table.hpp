// Which functions does an instruction-set variant offer? One table a variant, chosen at run time by isa/select.cpp.
//
// To add a variant: one more unit beside avx512.cpp that fills in a Kernels table, one line in select.cpp, one in
// kernels.cmake with its compiler flags.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/plane_jobs.hpp"

namespace mezzotint {

// What a matrix unit does.
struct MatrixKernels {
  // As Kernels::gather, for a job with a matrix. first_channel is a multiple of kMatrixOuts; scratch: see
  // kMatrixSumCells.
  void (*gather)(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
                 std::int64_t last_channel, void* scratch);
  // Tiles [first_tile, last_tile) of the job: adds to sums, unless they are fresh. scratch: kMatrixPixels * outs.
  void (*weight_grad)(const MatrixGradJob& job, std::int64_t first_tile, std::int64_t last_tile, bool fresh,
                      Cell* scratch, float* sums);
  // As Kernels::plane_gather, of blocks of kMatrixOuts output channels, for some images whose jobs differ in planes
  // alone. kept: kMatrixSumCells and kMatrixInputCells; a tile of all images is at most kMatrixPixels cells.
  void (*plane_gather)(const PlaneGatherJob* jobs, std::int64_t images, std::int64_t first_tile, std::int64_t last_tile,
                       std::int64_t first, std::int64_t last);
};

struct Kernels {
  const char* name;
  const MatrixKernels* matrices;  // null where there is no matrix unit
  // Cells of the output that the gather kernel keeps in registers at most.
  std::int64_t (*tile_cells)(Dtype dtype);
  // Entries that it takes at a time: 1, or 2 whose weights are joined.
  std::int64_t (*entries_at_once)(Dtype dtype);

  // Tiles [first_tile, last_tile) of the job, in the order (block, row tile, column tile), for output channels
  // [first_channel, last_channel). kept: scratch of a tile in FP32 for each of these channels, where a job has parts.
  void (*gather)(const GatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first_channel,
                 std::int64_t last_channel, void* kept);
  // Bands [first_band, last_band) of the job, in the order (block, band), for the nonzeros [first, last): adds to sums.
  void (*weight_grad)(const WeightGradJob& job, std::int64_t first_band, std::int64_t last_band, std::int64_t first,
                      std::int64_t last, float* sums);
  // Bands [first_band, last_band) of the job for output channels [first, last): adds to sums. first is a multiple of
  // kOutsTogether; scratch: for what is combined, see plan/dense_grad.hpp.
  void (*dense_grad)(const DenseGradJob& job, std::int64_t first_band, std::int64_t last_band, std::int64_t first,
                     std::int64_t last, Cell* scratch, float* sums);
  // One stored row of a block: halo rows are zeroed.
  void (*normalise_row)(const NormaliseJob& job, std::int64_t block, std::int64_t stored_row);
  void (*reduce_row)(const ReduceJob& job, std::int64_t block, std::int64_t row);
  // The same; scratch: a row of x.
  void (*max_pool_row)(const MaxPoolJob& job, std::int64_t block, std::int64_t stored_row, Cell* scratch);
  // All stored rows of a channel; scratch: held_rows rows of x, twice held_windows rows of y.
  void (*max_pool_grad_channel)(const MaxPoolGradJob& job, std::int64_t block, std::int64_t channel, Cell* scratch);
  void (*average_channel)(const AverageJob& job, std::int64_t block, std::int64_t channel);
  void (*average_grad_row)(const AverageJob& job, std::int64_t block, std::int64_t stored_row);
  void (*pack_row)(const PackJob& job, std::int64_t block, std::int64_t stored_row);
  void (*unpack_row)(const PackJob& job, std::int64_t block, std::int64_t row);
  // The plane layout. Cells that are summed at once, at most; then tiles of the job for output channels (groups of
  // them, or kLaneBlocks blocks of them) [first, last).
  std::int64_t (*plane_tile_cells)(Dtype dtype, Summing summing);
  void (*plane_gather)(const PlaneGatherJob& job, std::int64_t first_tile, std::int64_t last_tile, std::int64_t first,
                       std::int64_t last);
  // Cells of y [first, last) of a channel, or rows of x (spread), with the borders beside them.
  void (*plane_max)(const PlaneMaxJob& job, std::int64_t channel, std::int64_t first, std::int64_t last);
  void (*plane_product)(const PlaneProductJob& job, std::int64_t channel, std::int64_t first, std::int64_t last);
  void (*plane_split)(const PlaneSplitJob& job, std::int64_t channel, std::int64_t first, std::int64_t last);
  void (*plane_spread)(const PlaneSpreadJob& job, std::int64_t channel, std::int64_t first, std::int64_t last);
  // A channel of x, which has no parts.
  void (*plane_average)(const PlaneAverageJob& job, std::int64_t channel, std::int64_t first, std::int64_t last);
  void (*plane_flatten)(const PlaneFlattenJob& job, std::int64_t channel);
  // Outputs [first_output, last_output) of all rows.
  void (*rows_product)(const RowsProductJob& job, std::int64_t first_output, std::int64_t last_output);
  // 8-bit images. Sixteen rows; scratch: 16 bytes for each byte of a row of the input, and of the output.
  void (*resample_rows)(const ResampleJob& job, std::int64_t block, std::uint8_t* scratch);
  // Row y of the output, of so many bytes.
  void (*resample_across)(const ResampleJob& job, std::int64_t y, std::int64_t bytes);
  // So many pixels, at least 16. Quotients are rounded as by a division but for rare deviations.
  void (*normalise_pixels)(const PlanesJob& job, std::int64_t pixels);
};

extern const Kernels kPortable;
#ifdef MEZZOTINT_X86
extern const Kernels kAvx2;
extern const Kernels kAvx512;
extern const Kernels kAvx512Bf16;
extern const MatrixKernels kAmxBf16;
#endif
#ifdef MEZZOTINT_ARM64
extern const Kernels kNeon;
extern const Kernels kNeonBf16;
#endif

}  // namespace mezzotint
