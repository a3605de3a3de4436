// The kernels for AArch64 CPUs: NEON belongs to all of them, conversions of FP16 included.
#define MEZZOTINT_UNIT_NAME "neon"
#define MEZZOTINT_UNIT_TABLE kNeon
#define MEZZOTINT_VECTOR_FLOATS 4
#define MEZZOTINT_REGISTERS 32
#define MEZZOTINT_NEON

#include "isa/unit.hpp"
