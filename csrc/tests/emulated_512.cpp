// The widths of AVX-512, for any CPU; see tables.hpp.
#define MEZZOTINT_UNIT_NAME "emulated avx512"
#define MEZZOTINT_UNIT_TABLE kEmulated512
#define MEZZOTINT_VECTOR_FLOATS 16
#define MEZZOTINT_REGISTERS 32

#include "isa/unit.hpp"
