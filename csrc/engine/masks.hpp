// Which numbers of a plane are pixels? One where they are, zero between the rows; shared by planes of one geometry.
#pragma once

#include <memory>
#include <vector>

#include "kernels/plane_jobs.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

struct Inside {
  Scratch<Cell> ones;
  std::vector<std::uint32_t> bits;

  [[nodiscard]] InsideView view() const { return {ones.get(), bits.data()}; }
};

// `only`: the pixels of that one of several images abreast, or -1: of all. Remembers the last few, as the planes of a
// network have few geometries. Safe to call from several threads.
std::shared_ptr<const Inside> inside_of(const Planes& shape, std::int64_t only = -1);

}  // namespace mezzotint
