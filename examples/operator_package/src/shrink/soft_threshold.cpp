// The C++ kernel of shrink::soft_threshold: plain pointers in, plain pointers out.

#include <cstdint>

#if defined(_WIN32)
#define SHRINK_EXPORT __declspec(dllexport)
#else
#define SHRINK_EXPORT __attribute__((visibility("default")))
#endif

namespace {

// A comparison and a selection instead of branches, so that compilers make vectors of it. A NaN stays one: both
// comparisons are false, and x - x is NaN.
template <typename Real>
void soft_threshold(const Real* x, Real* y, std::int64_t count, Real threshold) noexcept {
  for (std::int64_t i = 0; i < count; ++i) {
    const Real value = x[i];
    const Real cut = value > threshold ? threshold : (value < -threshold ? -threshold : value);
    y[i] = value - cut;
  }
}

}  // namespace

extern "C" {

SHRINK_EXPORT void shrink_soft_threshold_float32(const float* x, float* y, std::int64_t count,
                                                 double threshold) noexcept {
  soft_threshold(x, y, count, static_cast<float>(threshold));
}

SHRINK_EXPORT void shrink_soft_threshold_float64(const double* x, double* y, std::int64_t count,
                                                 double threshold) noexcept {
  soft_threshold(x, y, count, threshold);
}

}  // extern "C"
