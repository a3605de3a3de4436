// How is the halo cleared?
#pragma once

#include "core/packed.hpp"

namespace mezzotint {
namespace {

[[maybe_unused]] void zero_cells(Cell* cells, std::int64_t count) {
  __builtin_memset(cells, 0, static_cast<std::size_t>(count) * sizeof(Cell));
}

// Clears a row of the channels [first, last) that lies above or below the image. Says whether it does.
[[maybe_unused]] bool zero_outside(const Packed& view, std::int64_t block, std::int64_t row, std::int64_t first,
                                   std::int64_t last) {
  const bool outside = row < 0 || row >= view.height;
  if (outside) {
    zero_cells(cell_at(view, block, row, first, -view.halo.left), (last - first) * view.channel);
  }
  return outside;
}

// Clears the halo in a row of the channels [first, last): all of a row above or below the image, else what lies left
// and right of it. Says whether the row belongs to the image.
[[maybe_unused]] bool zero_halo(const Packed& view, std::int64_t block, std::int64_t row, std::int64_t first,
                                std::int64_t last) {
  if (zero_outside(view, block, row, first, last)) {
    return false;
  }
  const Halo& halo = view.halo;
  Cell* start = cell_at(view, block, row, first, -halo.left);
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
