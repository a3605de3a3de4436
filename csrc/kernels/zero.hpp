// How is the halo cleared?
#pragma once

#include "core/packed.hpp"

namespace mezzotint {
namespace {

[[maybe_unused]] void zero_cells(Cell* cells, std::int64_t count) {
  __builtin_memset(cells, 0, static_cast<std::size_t>(count) * sizeof(Cell));
}

// Clears the halo in a row of the channels [first, last): all of a row above or below the image, else what lies left
// and right of it. Says whether the row belongs to the image.
[[maybe_unused]] bool zero_halo(const Packed& view, std::int64_t block, std::int64_t row, std::int64_t first,
                                std::int64_t last) {
  const Halo& halo = view.halo;
  Cell* start = cell_at(view, block, row, first, -halo.left);
  if (row < 0 || row >= view.height) {
    zero_cells(start, (last - first) * view.channel);
    return false;
  }
  for (std::int64_t c = first; halo.left + halo.right > 0 && c < last; ++c, start += view.channel) {
    zero_cells(start, halo.left);
    zero_cells(start + halo.left + view.width, halo.right);
  }
  return true;
}

[[maybe_unused]] bool zero_halo(const Packed& view, std::int64_t block, std::int64_t row) {
  return zero_halo(view, block, row, 0, view.channels);
}

}  // namespace
}  // namespace mezzotint
