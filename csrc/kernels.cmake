# The library without its bindings: ISA units compiled with the flags of their instruction set, the rest for the
# baseline CPU of the platform.
add_library(
  mezzotint_kernels OBJECT
  csrc/drive/activations.cpp
  csrc/drive/columns.cpp
  csrc/drive/conv2d_backward.cpp
  csrc/drive/conv2d_dense_grad.cpp
  csrc/drive/conv2d_input_grad.cpp
  csrc/drive/conv2d_output.cpp
  csrc/drive/conv2d_weight_grad.cpp
  csrc/drive/batch_norm.cpp
  csrc/drive/levels.cpp
  csrc/drive/matrix_grad.cpp
  csrc/drive/pixels.cpp
  csrc/drive/pointwise.cpp
  csrc/drive/pool.cpp
  csrc/drive/run.cpp
  csrc/drive/scatter.cpp
  csrc/engine/conv_step.cpp
  csrc/engine/product_step.cpp
  csrc/engine/program.cpp
  csrc/engine/routes.cpp
  csrc/engine/steps.cpp
  csrc/image/entropy.cpp
  csrc/image/jpeg.cpp
  csrc/image/libjpeg.cpp
  csrc/image/tone.cpp
  csrc/isa/select.cpp
  csrc/isa/trial.cpp
  csrc/plan/dense_grad.cpp
  csrc/plan/expand_columns.cpp
  csrc/plan/expand_rows.cpp
  csrc/plan/join.cpp
  csrc/plan/matrices.cpp
  csrc/plan/taps.cpp
  csrc/plan/tiles.cpp
  csrc/runtime/handover.cpp
  csrc/runtime/level1.cpp
  csrc/runtime/pool.cpp
  csrc/runtime/scratch.cpp
  csrc/runtime/threads.cpp
  csrc/runtime/turnstile.cpp)

set(MEZZOTINT_ISA_UNITS csrc/isa/portable.cpp)
set(MEZZOTINT_PLATFORM)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(MEZZOTINT_PLATFORM MEZZOTINT_X86)
  list(APPEND MEZZOTINT_ISA_UNITS csrc/isa/avx2.cpp csrc/isa/avx512.cpp csrc/isa/avx512_bf16.cpp
       csrc/isa/amx_bf16.cpp)
  set_source_files_properties(csrc/isa/avx2.cpp PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
  set(MEZZOTINT_AVX512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512)
  set_source_files_properties(csrc/isa/avx512.cpp PROPERTIES COMPILE_OPTIONS "${MEZZOTINT_AVX512}")
  set_source_files_properties(csrc/isa/avx512_bf16.cpp PROPERTIES COMPILE_OPTIONS "${MEZZOTINT_AVX512};-mavx512bf16")
  set_source_files_properties(csrc/isa/amx_bf16.cpp PROPERTIES COMPILE_OPTIONS
                                                               "${MEZZOTINT_AVX512};-mavx512bf16;-mamx-tile;-mamx-bf16")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(MEZZOTINT_PLATFORM MEZZOTINT_ARM64)
  list(APPEND MEZZOTINT_ISA_UNITS csrc/isa/neon.cpp csrc/isa/neon_bf16.cpp)
  set_source_files_properties(csrc/isa/neon_bf16.cpp PROPERTIES COMPILE_OPTIONS "-march=armv8.2-a+bf16")
endif()
add_library(mezzotint_isa OBJECT ${MEZZOTINT_ISA_UNITS})

foreach(target mezzotint_kernels mezzotint_isa)
  target_compile_definitions(${target} PUBLIC ${MEZZOTINT_PLATFORM})
  target_include_directories(${target} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/csrc)
  # Sums are fused multiply-adds wherever the instruction set has them. Vectors are passed between inlined functions
  # only, so their calling convention (-Wpsabi) does not matter.
  target_compile_options(${target} PRIVATE -O3 -ffp-contract=fast -Wall -Wextra -Wpedantic -Wno-psabi
                                           $<$<BOOL:${MEZZOTINT_DEV}>:-Werror>)
  if(MEZZOTINT_SANITIZE)
    target_compile_options(${target} PUBLIC -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endforeach()
# GCC 12 takes the undefined operands of its own AVX-512 intrinsics for uninitialised variables (its bug 105593).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(mezzotint_isa PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
target_link_libraries(mezzotint_kernels PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
