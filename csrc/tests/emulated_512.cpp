// The widths of AVX-512 and of a matrix unit, for any CPU; see tables.hpp. Emulated code is large, so the tiles are
// small.
#define MEZZOTINT_UNIT_NAME "emulated avx512"
#define MEZZOTINT_UNIT_TABLE kEmulated512
#define MEZZOTINT_VECTOR_FLOATS 16
#define MEZZOTINT_REGISTERS 32
#define MEZZOTINT_TILE_VECS 6
#define MEZZOTINT_MATRICES

#include "isa/unit.hpp"
