// The widths of NEON, for any CPU; see tables.hpp.
#define MEZZOTINT_UNIT_NAME "emulated neon"
#define MEZZOTINT_UNIT_TABLE kEmulatedNeon
#define MEZZOTINT_VECTOR_FLOATS 4
#define MEZZOTINT_REGISTERS 32

#include "isa/unit.hpp"
