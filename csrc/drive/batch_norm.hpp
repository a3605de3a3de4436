// What does a batch norm do to a channel, and what is its gradient? Coefficients from totals over the batch, in double
// precision; the equations stand in src/mezzotint/lowering/batch_norm.py. A dozen tensor operations on a few numbers
// cost more than they compute: here they are one loop.
#pragma once

#include <cstdint>

namespace mezzotint {

// Null: weight 1, biases 0, no running statistics.
struct BatchNorm {
  std::int64_t channels;
  double eps;
  const float* weight;
  const float* bias;
  float* running_mean;
  float* running_var;
  double share;           // of this batch in the running statistics
  const float* left_out;  // a bias that the totals do not hold: it shifts the mean alone
};

// From totals [channels][2] over `count` numbers a channel, and the running statistics are updated; without totals
// from the running statistics, of which what was left out is taken away.
void batch_norm_coefficients(const BatchNorm& norm, const double* totals, double count, float* scale, float* shift,
                             double* mean, double* rstd);

// From the totals [channels][2] of g and g * y: the gradients of weight and bias, and those factors of y and that
// constant which, beside g * scale, are the gradient for y. With running statistics (count 0) both are 0.
void batch_norm_gradient(std::int64_t channels, const double* totals, double count, const float* scale,
                         const double* mean, const double* rstd, float* weight, float* bias, float* companion,
                         float* constant);

}  // namespace mezzotint
