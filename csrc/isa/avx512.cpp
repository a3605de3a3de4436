// The kernels for x86-64 CPUs with AVX-512 F, BW, DQ and VL.
#define MEZZOTINT_UNIT_NAME "avx512"
#define MEZZOTINT_UNIT_TABLE kAvx512
#define MEZZOTINT_VECTOR_FLOATS 16
#define MEZZOTINT_REGISTERS 32

#include "isa/unit.hpp"
