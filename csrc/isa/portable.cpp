// The kernels for any CPU: 128-bit vectors of the compiler, no intrinsics.
#define MEZZOTINT_UNIT_NAME "portable"
#define MEZZOTINT_UNIT_TABLE kPortable
#define MEZZOTINT_VECTOR_FLOATS 4
#ifdef __aarch64__
#define MEZZOTINT_REGISTERS 32
#else
#define MEZZOTINT_REGISTERS 16
#endif

#include "isa/unit.hpp"
