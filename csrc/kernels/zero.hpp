// How are cells cleared?
#pragma once

#include "core/packed.hpp"

namespace mezzotint {
namespace {

[[maybe_unused]] void zero_cells(Cell* cells, std::int64_t count) {
  __builtin_memset(cells, 0, static_cast<std::size_t>(count) * sizeof(Cell));
}

}  // namespace
}  // namespace mezzotint
