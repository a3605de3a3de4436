// The kernels for x86-64 CPUs with AVX-512 and its BF16 dot products (Zen 4, Cooper Lake, Sapphire Rapids and later).
#define MEZZOTINT_UNIT_NAME "avx512_bf16"
#define MEZZOTINT_UNIT_TABLE kAvx512Bf16
#define MEZZOTINT_VECTOR_FLOATS 16
#define MEZZOTINT_REGISTERS 32

#include "isa/unit.hpp"
