// Which kernels does a matrix unit bring?
#pragma once

#include "isa/table.hpp"
#include "kernels/matrix_gather.hpp"
#include "kernels/matrix_weight_grad.hpp"
#include "kernels/plane_matrix.hpp"

namespace mezzotint {
namespace {

constexpr MatrixKernels kMatrixKernels = {&matrix_gather, &matrix_weight_grad, &plane_gather_matrices};

}  // namespace
}  // namespace mezzotint
