#include "drive/batch_norm.hpp"

#include <algorithm>
#include <cmath>

namespace mezzotint {
namespace {

void update(float& running, double now, double share) {
  running = static_cast<float>(static_cast<double>(running) * (1.0 - share) + now * share);
}

}  // namespace

void batch_norm_coefficients(const BatchNorm& norm, const double* totals, double count, float* scale, float* shift,
                             double* mean, double* rstd) {
  for (std::int64_t c = 0; c < norm.channels; ++c) {
    const double left_out = norm.left_out ? static_cast<double>(norm.left_out[c]) : 0.0;
    double var = 0.0;
    if (totals) {
      mean[c] = totals[2 * c] / count;
      var = std::max(totals[2 * c + 1] / count - mean[c] * mean[c], 0.0);
    } else {
      mean[c] = static_cast<double>(norm.running_mean[c]) - left_out;
      var = static_cast<double>(norm.running_var[c]);
    }
    rstd[c] = 1.0 / std::sqrt(var + norm.eps);
    const double factor = norm.weight ? rstd[c] * static_cast<double>(norm.weight[c]) : rstd[c];
    scale[c] = static_cast<float>(factor);
    shift[c] = static_cast<float>((norm.bias ? static_cast<double>(norm.bias[c]) : 0.0) - mean[c] * factor);
    if (totals && norm.running_mean) {
      update(norm.running_mean[c], mean[c] + left_out, norm.share);
      // PyTorch keeps the variance without bias.
      update(norm.running_var[c], var * (count / std::max(1.0, count - 1.0)), norm.share);
    }
  }
}

void batch_norm_gradient(std::int64_t channels, const double* totals, double count, const float* scale,
                         const double* mean, const double* rstd, float* weight, float* bias, float* companion,
                         float* constant) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const double total = totals[2 * c];
    const double of_weight = rstd[c] * (totals[2 * c + 1] - mean[c] * total);
    const double share = count > 0 ? static_cast<double>(scale[c]) / count : 0.0;
    const double of_y = -share * rstd[c] * of_weight;
    weight[c] = static_cast<float>(of_weight);
    bias[c] = static_cast<float>(total);
    companion[c] = static_cast<float>(of_y);
    constant[c] = static_cast<float>(-share * total - of_y * mean[c]);
  }
}

}  // namespace mezzotint
