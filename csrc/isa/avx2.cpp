// The kernels for x86-64 CPUs with AVX2, FMA and F16C.
#define MEZZOTINT_UNIT_NAME "avx2"
#define MEZZOTINT_UNIT_TABLE kAvx2
#define MEZZOTINT_VECTOR_FLOATS 8
#define MEZZOTINT_REGISTERS 16

#include "isa/unit.hpp"
