// What can be asked of a sparse convolution? Its output, its input gradient and its weight gradient at the nonzeros,
// on tensors of any strides or on activations that are in the native layout already. A linear layer is the case of
// single pixels.
//
// The arguments are trusted to fit each other (mezzotint.ops validates them); only the indices are checked.
#pragma once

#include "core/packed.hpp"
#include "core/tensor.hpp"
#include "drive/context.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {

void conv2d_output(const Tensor& x, const SparseWeight& weight, const Vector& bias, const Tensor& y, const Conv& conv,
                   const Context& with);
void conv2d_input_grad(const Tensor& gy, const SparseWeight& weight, const Tensor& gx, const Conv& conv,
                       const Context& with);
void conv2d_weight_grad(const Tensor& x, const Tensor& gy, const SparseWeight& weight, const Vector& gvalues,
                        const Conv& conv, const Context& with);

// The same on packed activations. x needs a stored halo of at least the padding, gy one of at least grad_halo();
// halos of the results are left as they are. All activations of a call are of one type. Lanes behind the last image
// hold whatever the bias makes of zeros; in weight gradients they must be zero in x or gy and finite in the other.
// totals: [channels][2] in double precision, the sums that the epilogue describes over all of the result; null: not
// wanted. The epilogue's places are those of the whole result; its own `sums` is set here.
void conv2d_output_packed(const Packed& x, const SparseWeight& weight, const float* bias, const Epilogue& epilogue,
                          const Packed& y, const Conv& conv, double* totals, const Context& with);
void conv2d_input_grad_packed(const Packed& gy, const SparseWeight& weight, const Epilogue& epilogue, const Packed& gx,
                              const Conv& conv, double* totals, const Context& with);
void conv2d_weight_grad_packed(const Packed& x, const Packed& gy, const SparseWeight& weight, const Vector& gvalues,
                               const Conv& conv, const Context& with);

// The gradient of every weight, [out][in_per_group][kernel_h][kernel_w]. paired: 16-bit activations may be rounded once
// more, which saves a third of the time of windows of three columns.
void conv2d_dense_grad_packed(const Packed& x, const Packed& gy, float* gradient, const Conv& conv, bool paired,
                              const Context& with);

// Both gradients of a pointwise convolution of stride 1 without padding (groups as they may be) in one pass. gy: says
// what the output gradient is made of, two operands; its z and stream are set here. gvalues: contiguous FP32.
void conv2d_backward_packed(const NormaliseJob& gy, const Packed& x, const SparseWeight& weight,
                            const Epilogue& epilogue, const Packed& gx, const Vector& gvalues, const Conv& conv,
                            double* totals, const Context& with);

struct Size {
  std::int64_t h, w;
};

// The halo that an input gradient reads around gy.
Halo grad_halo(const Conv& conv, Size gx, Size gy);

}  // namespace mezzotint
