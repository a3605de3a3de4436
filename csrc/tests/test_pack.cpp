// Do tensors survive the way into the native layout and back, bit by bit, with zeros where zeros belong?
#include "drive/activations.hpp"
#include "tests/check.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {
namespace {

using Order = OwnedTensor::Order;

double expected(const OwnedTensor& x, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  const Tensor& t = x.view();
  return n < t.n && h >= 0 && h < t.h && w >= 0 && w < t.w ? x.get(n, c, h, w) : 0.0;
}

double lane(const Packed& p, std::int64_t b, std::int64_t h, std::int64_t c, std::int64_t w, std::int64_t image) {
  const Cell* cell = cell_at(p, b, h, c, w);
  switch (p.dtype) {
    case Dtype::kBFloat16:
      return widen(reinterpret_cast<const BFloat16*>(cell)[image]);
    case Dtype::kFloat16:
      return widen(reinterpret_cast<const Float16*>(cell)[image]);
    default:
      return reinterpret_cast<const float*>(cell)[image];
  }
}

bool equals(const Packed& p, const OwnedTensor& x) {
  const std::int64_t lanes = lanes_of(p.dtype);
  for (std::int64_t n = 0; n < p.blocks * lanes; ++n) {
    for (std::int64_t c = 0; c < p.channels; ++c) {
      for (std::int64_t h = -p.halo.top; h < p.height + p.halo.bottom; ++h) {
        for (std::int64_t w = -p.halo.left; w < p.width + p.halo.right; ++w) {
          if (lane(p, n / lanes, h, c, w, n % lanes) != expected(x, n, c, h, w)) {
            return false;
          }
        }
      }
    }
  }
  return true;
}

bool equals(const OwnedTensor& a, const OwnedTensor& b) {
  const Tensor& t = a.view();
  for (std::int64_t i = 0; i < t.n * t.c * t.h * t.w; ++i) {
    const std::int64_t w = i % t.w, h = i / t.w % t.h, c = i / t.w / t.h % t.c, n = i / t.w / t.h / t.c;
    if (a.get(n, c, h, w) != b.get(n, c, h, w)) {
      return false;
    }
  }
  return true;
}

void check_round_trip(const Kernels& kernels, Dtype dtype, Order order, Random& random) {
  OwnedTensor x(dtype, pick(random, 1, 35), pick(random, 1, 20), pick(random, 1, 4), pick(random, 1, 20), order);
  const Tensor& t = x.view();
  x.fill(random);
  const Halo halo{pick(random, 0, 2), pick(random, 0, 2), pick(random, 0, 2), pick(random, 0, 2)};
  const std::int64_t blocks = blocks_of(t.n, dtype);
  const Activations packed(dtype, false, blocks, t.c, t.h, t.w, halo);
  pack(t, packed.for_copies(blocks), {kernels, 2});
  CHECK(equals(packed.view, x), "pack");
  OwnedTensor back(dtype, t.n, t.c, t.h, t.w, order);
  unpack(packed.for_copies(blocks), back.view(), {kernels, 2});
  CHECK(equals(x, back), "unpack");
  const Activations wider(dtype, false, blocks, t.c, t.h, t.w, {3, 2, 1, 4});
  copy_packed(packed.view, wider.view, 2);
  CHECK(equals(wider.view, x), "copy with another halo");
}

void check_expanded(const Kernels& kernels) {
  Tensor t{nullptr, Dtype::kFloat32, 18, 3, 2, 9};  // all strides 0: one element
  float value = 2.5f;
  t.data = &value;
  const Activations packed(Dtype::kFloat32, false, 2, 3, 2, 9, {1, 0, 0, 1});
  pack(t, packed.for_copies(2), {kernels, 1});
  bool good = true;
  for (std::int64_t w = 0; w < 9; ++w) {
    good = good && lane(packed.view, 0, 0, 0, w, 15) == 2.5 && lane(packed.view, 1, 1, 2, w, 1) == 2.5 &&
           lane(packed.view, 1, 1, 2, w, 2) == 0.0;
  }
  CHECK(good, "an expanded tensor");
}

}  // namespace

void test_pack(const Kernels& kernels) {
  Random random(1);
  for (int i = 0; i < 10; ++i) {
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBFloat16, Dtype::kFloat16}) {
      for (const Order order : {Order::kNchw, Order::kNhwc, Order::kReversed, Order::kGaps}) {
        check_round_trip(kernels, dtype, order, random);
      }
    }
  }
  check_expanded(kernels);
}

}  // namespace mezzotint::tests
