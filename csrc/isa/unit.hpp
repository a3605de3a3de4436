// How does one kernel source become a table of functions for one instruction set? Include this in a unit that defines
// MEZZOTINT_UNIT_NAME (a string), MEZZOTINT_UNIT_TABLE (the table's identifier), MEZZOTINT_VECTOR_FLOATS (floats in a
// vector register) and MEZZOTINT_REGISTERS (their number), and that is compiled with the matching flags.
//
// A unit holds no std:: templates and no function with external linkage: such a function may be emitted by several
// units, the linker keeps any one of them, and the program then runs AVX-512 code on a CPU without it.
#pragma once

#include "isa/table.hpp"
#include "kernels/gather.hpp"
#include "kernels/pack.hpp"
#include "kernels/weight_grad.hpp"

namespace mezzotint {

extern const Kernels MEZZOTINT_UNIT_TABLE;
const Kernels MEZZOTINT_UNIT_TABLE = {
    MEZZOTINT_UNIT_NAME, kTileCells, &gather, &weight_grad, &pack_row, &unpack_row,
};

}  // namespace mezzotint
