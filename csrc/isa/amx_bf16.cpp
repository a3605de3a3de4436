// The kernels for the matrix unit of x86-64 CPUs with AMX and BF16 (Sapphire Rapids and later). All else those CPUs
// take from the units for AVX-512, which isa/select.cpp puts together with this one.
#define MEZZOTINT_VECTOR_FLOATS 16
#define MEZZOTINT_REGISTERS 32

#include "kernels/matrices.hpp"

namespace mezzotint {

extern const MatrixKernels kAmxBf16;
const MatrixKernels kAmxBf16 = kMatrixKernels;

}  // namespace mezzotint
