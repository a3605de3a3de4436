// How does one kernel source become a table of functions for one instruction set? Include this in a unit that defines
// MEZZOTINT_UNIT_NAME (a string), MEZZOTINT_UNIT_TABLE (the table's identifier), MEZZOTINT_VECTOR_FLOATS (floats in a
// vector register) and MEZZOTINT_REGISTERS (their number), and that is compiled with the matching flags. A unit that
// defines MEZZOTINT_MATRICES has kernels for a matrix unit as well.
//
// A unit holds no std:: templates and no function with external linkage: such a function may be emitted by several
// units, the linker keeps any one of them, and the program then runs AVX-512 code on a CPU without it.
#pragma once

#include "isa/table.hpp"
#include "kernels/average.hpp"
#include "kernels/dense_grad.hpp"
#include "kernels/gather.hpp"
#include "kernels/normalise.hpp"
#include "kernels/pack.hpp"
#include "kernels/plane_gather.hpp"
#include "kernels/plane_passes.hpp"
#include "kernels/planes.hpp"
#include "kernels/pool.hpp"
#include "kernels/pool_grad.hpp"
#include "kernels/resample.hpp"
#include "kernels/weight_grad.hpp"
#ifdef MEZZOTINT_MATRICES
#include "kernels/matrices.hpp"
#endif

namespace mezzotint {

#ifdef MEZZOTINT_MATRICES
#define MEZZOTINT_UNIT_MATRICES &kMatrixKernels
#else
#define MEZZOTINT_UNIT_MATRICES nullptr
#endif

extern const Kernels MEZZOTINT_UNIT_TABLE;
const Kernels MEZZOTINT_UNIT_TABLE = {
    MEZZOTINT_UNIT_NAME,
    MEZZOTINT_UNIT_MATRICES,
    &tile_cells,
    &entries_at_once,
    &gather,
    &weight_grad,
    &dense_grad,
    &normalise_row,
    &reduce_row,
    &max_pool_row,
    &max_pool_grad_channel,
    &average_channel,
    &average_grad_row,
    &pack_row,
    &unpack_row,
    &plane_tile_cells,
    &plane_gather,
    &plane_max,
    &plane_product,
    &plane_split,
    &plane_spread,
    &plane_average,
    &plane_flatten,
    &rows_product,
    &resample_rows,
    &resample_across,
    &normalise_pixels,
};

}  // namespace mezzotint
