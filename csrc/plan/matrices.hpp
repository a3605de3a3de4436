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

// The columns of a matrix, and what their inputs are.
struct MatrixColumns {
  std::vector<std::int32_t> offsets;  // of the inputs, in bytes
  std::vector<MatrixTap> taps;        // in the order of their columns, where these go tap by tap
  std::int64_t positions = 0;         // of a row of the result
  std::int64_t step = 1;              // input cells from one of them to the next
};

// A weight as matrices: one for an output, one for each phase of an input gradient.
class Matrices {
 public:
  // A matrix of `outs` rows for each phase. `window`: how its taps lie, but for what they span.
  Matrices(std::int64_t outs, std::vector<MatrixColumns> phases, const MatrixWindow& window);

  [[nodiscard]] const WeightMatrix& of_phase(std::int64_t phase) const {
    return views_[static_cast<std::size_t>(phase)];
  }
  [[nodiscard]] std::int64_t cells() const { return cells_; }
  [[nodiscard]] Cell* tiles() const { return tiles_.get(); }

 private:
  std::vector<MatrixColumns> phases_;
  Scratch<Cell> tiles_;
  std::int64_t cells_ = 0;
  std::vector<WeightMatrix> views_;
};

// Cells that the joined rows of a window take, for so many positions of a row of the result, `step` input cells apart.
std::int64_t joined_cells(const MatrixWindow& window, std::int64_t positions, std::int64_t step);

// Whether `nnz` nonzeros of a matrix unit's `outs` rows and `columns` columns take longer one by one. `joins`: how
// often a column's inputs are joined, for phases of their own.
bool matrix_pays(std::int64_t outs, std::int64_t columns, std::int64_t nnz, std::int64_t joins = 1);

// For y, whose rows are `width` positions: offsets lead into the packed x.
Matrices matrices_of_output(const SparseWeight& weight, const Conv& conv, const Packed& x, std::int64_t width,
                            int threads);

// For gx: offsets lead into the packed gy.
Matrices matrices_of_input_grad(const SparseWeight& weight, const Conv& conv, const Axis& vertical,
                                const Axis& horizontal, const Packed& gy, int threads);

// Tiles of a row, as a matrix unit takes them.
TileShape matrix_tile(std::int64_t columns);

}  // namespace mezzotint
