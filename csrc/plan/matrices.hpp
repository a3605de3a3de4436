// When do nonzeros pay as a whole matrix, zeros included, and how is it laid out for a matrix unit? Made anew at every
// call, as the lists of plan/expand.hpp are: a weight is whole only while one layer's call lasts.
#pragma once

#include <cstdint>
#include <vector>

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "kernels/jobs.hpp"
#include "plan/phases.hpp"
#include "plan/tiles.hpp"
#include "runtime/scratch.hpp"

namespace mezzotint {

// A weight as matrices: one for an output, one for each phase of an input gradient.
class Matrices {
 public:
  // A matrix of `outs` rows for each list of offsets. `by_pixel`: see WeightMatrix.
  Matrices(std::int64_t outs, const std::vector<std::vector<std::int32_t>>& offsets, bool by_pixel);

  [[nodiscard]] std::int64_t phases() const { return static_cast<std::int64_t>(views_.size()); }
  [[nodiscard]] const WeightMatrix& of_phase(std::int64_t phase) const {
    return views_[static_cast<std::size_t>(phase)];
  }

  [[nodiscard]] std::int64_t cells() const { return cells_; }
  [[nodiscard]] Cell* tiles() const { return tiles_.get(); }

 private:
  Scratch<Cell> tiles_;
  std::int64_t cells_ = 0;
  std::vector<std::int32_t> offsets_;
  std::vector<WeightMatrix> views_;
};

// Whether `nnz` nonzeros of a matrix unit's `outs` rows and `columns` columns take longer one by one.
bool matrix_pays(std::int64_t outs, std::int64_t columns, std::int64_t nnz);

// For y: offsets lead into the packed x.
Matrices matrices_of_output(const SparseWeight& weight, const Conv& conv, const Packed& x, int threads);

// For gx: offsets lead into the packed gy.
Matrices matrices_of_input_grad(const SparseWeight& weight, const Conv& conv, const Axis& vertical,
                                const Axis& horizontal, const Packed& gy, int threads);

// Tiles of a row, as a matrix unit takes them.
TileShape matrix_tile(std::int64_t columns);

}  // namespace mezzotint
