# How is the library compiled for AArch64 on another machine, and run there? Debian's cross compiler and qemu's user mode:
#   apt-get install g++-aarch64-linux-gnu qemu-user
#   cmake -S . -B build/neon -DCMAKE_TOOLCHAIN_FILE=csrc/toolchains/aarch64.cmake -DMEZZOTINT_BINDINGS=OFF -DMEZZOTINT_DEV=ON
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# `max` has every extension that qemu knows, BF16 products among them.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
