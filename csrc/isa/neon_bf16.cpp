// The kernels for AArch64 CPUs with BF16 products (Armv8.6: Neoverse V1 and N2, Cortex-X2, Apple M2 and later).
#define MEZZOTINT_UNIT_NAME "neon_bf16"
#define MEZZOTINT_UNIT_TABLE kNeonBf16
#define MEZZOTINT_VECTOR_FLOATS 4
#define MEZZOTINT_REGISTERS 32
#define MEZZOTINT_NEON

#include "isa/unit.hpp"
