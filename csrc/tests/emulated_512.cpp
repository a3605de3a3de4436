// The widths of AVX-512, for any CPU; see tables.hpp. Emulated code is large, so the tiles are small.
#define MEZZOTINT_UNIT_NAME "emulated avx512"
#define MEZZOTINT_UNIT_TABLE kEmulated512
#define MEZZOTINT_VECTOR_FLOATS 16
#define MEZZOTINT_REGISTERS 32
#define MEZZOTINT_TILE_VECS 6

#include "isa/unit.hpp"
