// Is a dense weight its nonzeros among zeros, in every type and on any number of threads, and are positions looked at?
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/error.hpp"
#include "drive/scatter.hpp"
#include "tests/check.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {
namespace {

template <class T>
void check_type(Dtype dtype, Dtype working, std::int64_t count, int threads, Random& random) {
  std::vector<float> values;
  std::vector<std::int32_t> indices;
  std::vector<T> dense(static_cast<std::size_t>(count)), right(dense.size(), T{});
  for (T& number : dense) {
    narrow(std::numeric_limits<float>::quiet_NaN(), number);
  }
  std::uniform_real_distribution<float> any(-2.0f, 2.0f);
  for (std::int64_t at = 0; at < count; at += pick(random, 1, 12)) {
    const float value = any(random);
    values.push_back(value);
    indices.push_back(static_cast<std::int32_t>(at));
    narrow(working == Dtype::kBFloat16 ? rounded_to<BFloat16>(value) : value, right[static_cast<std::size_t>(at)]);
  }
  const SparseWeight weight{
      values.data(), Dtype::kFloat32, 1, working, indices.data(), nullptr, static_cast<std::int64_t>(values.size())};
  scatter(weight, dense.data(), dtype, count, threads);
  // Nothing has no address to compare.
  CHECK(count == 0 || std::memcmp(dense.data(), right.data(), dense.size() * sizeof(T)) == 0, "scattered");
}

void check_refused(const std::vector<std::int32_t>& indices, const char* what) {
  const std::vector<float> values(indices.size(), 1.0f);
  std::vector<float> dense(40000);
  const SparseWeight weight{values.data(),
                            Dtype::kFloat32,
                            1,
                            Dtype::kFloat32,
                            indices.data(),
                            nullptr,
                            static_cast<std::int64_t>(values.size())};
  try {
    scatter(weight, dense.data(), Dtype::kFloat32, static_cast<std::int64_t>(dense.size()), 2);
    CHECK(false, what);
  } catch (const InvalidInput&) {
    CHECK(true, what);
  }
}

}  // namespace

void test_scatter() {
  Random random(11);
  for (const std::int64_t count : {0, 1, 4095, 8192, 100001}) {
    for (const int threads : {1, 2}) {
      check_type<float>(Dtype::kFloat32, Dtype::kFloat32, count, threads, random);
      check_type<float>(Dtype::kFloat32, Dtype::kBFloat16, count, threads, random);
      check_type<BFloat16>(Dtype::kBFloat16, Dtype::kBFloat16, count, threads, random);
      check_type<Float16>(Dtype::kFloat16, Dtype::kFloat16, count, threads, random);
    }
  }
  check_refused({-1, 5}, "below zero");
  check_refused({5, 40000}, "behind the end");
  check_refused({5, 39000, 6, 7}, "back to another block");
  check_refused({39000, 6, 39001}, "from another block");
}

}  // namespace mezzotint::tests
