// What pooling can be asked for, on activations in the native layout? Results are the same bits for any number of
// threads.
#pragma once

#include "drive/context.hpp"
#include "kernels/jobs.hpp"

namespace mezzotint {

// The window of an output position; top and left are the rows and columns before the image that count as -infinity. A
// window may reach as far beyond the other borders as it likes, so the size of y says how many windows there are.
struct PoolWindow {
  std::int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, top = 0, left = 0, dilation_h = 1,
               dilation_w = 1;
};

// y = the maximum over every window of x. A NaN is larger than every number; a maximum of zeros is +0.
void max_pool_packed(const Packed& x, const Packed& y, const PoolWindow& window, std::int64_t batch,
                     const Context& with);

// gx = the sum, in FP32, of gy over the windows of y of which a position is the first maximum in row-major order. Among
// several NaN in a window it is the first one too, where PyTorch takes the last.
void max_pool_grad_packed(const Packed& x, const Packed& y, const Packed& gy, const Packed& gx,
                          const PoolWindow& window, const Context& with);

// y [blocks, 1, channels, 1] = the average over the pixels of x.
void global_average_packed(const Packed& x, const Packed& y, const Context& with);

// gx = gy / pixels of gx.
void global_average_grad_packed(const Packed& gy, const Packed& gx, const Context& with);

}  // namespace mezzotint
