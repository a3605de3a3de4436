// How is the larger of two numbers found in their bits? As ordered integers: one instruction then compares all numbers
// of a register, 16-bit ones without being widened, and a NaN needs no second look.
//
// A number becomes its magnitude with its sign as a two's complement, which makes -0 equal to 0, moved such that
// -infinity is the smallest integer. The NaNs beyond infinity stay there; those beyond -infinity wrap around to the
// top. So a NaN is larger than every number, and a maximum hands it on.
#pragma once

#include "kernels/vector.hpp"

namespace mezzotint {
namespace {

struct Ordered16 {
  using Element = std::uint16_t;
  typedef std::uint16_t Unsigned __attribute__((vector_size(4 * MEZZOTINT_VECTOR_FLOATS), may_alias));
  typedef std::int16_t Signed __attribute__((vector_size(4 * MEZZOTINT_VECTOR_FLOATS), may_alias));
};

template <class T>
struct OrderedOf;
template <>
struct OrderedOf<float> {
  using Element = std::uint32_t;
  typedef std::uint32_t Unsigned __attribute__((vector_size(4 * MEZZOTINT_VECTOR_FLOATS), may_alias));
  typedef std::int32_t Signed __attribute__((vector_size(4 * MEZZOTINT_VECTOR_FLOATS), may_alias));
  static constexpr Element kInfinity = 0x7f800000;
};
template <>
struct OrderedOf<BFloat16> : Ordered16 {
  static constexpr Element kInfinity = 0x7f80;
};
template <>
struct OrderedOf<Float16> : Ordered16 {
  static constexpr Element kInfinity = 0x7c00;
};

template <class T>
using ElementOf = typename OrderedOf<T>::Element;
template <class T>
using UnsignedOf = typename OrderedOf<T>::Unsigned;
template <class T>
using SignedOf = typename OrderedOf<T>::Signed;

template <class T>
constexpr int kSignShift = sizeof(T) * 8 - 1;
template <class T>
constexpr ElementOf<T> kSignBit = static_cast<ElementOf<T>>(ElementOf<T>{1} << kSignShift<T>);
// What moves -infinity to the smallest integer.
template <class T>
constexpr ElementOf<T> kOrderedShift = static_cast<ElementOf<T>>(kSignBit<T> + OrderedOf<T>::kInfinity);

// All bits of the elements below 0: the same mask turns a magnitude into a two's complement and back.
template <class T>
inline MEZZOTINT_INLINE UnsignedOf<T> negative(UnsignedOf<T> value) {
  return reinterpret_cast<UnsignedOf<T>>(reinterpret_cast<SignedOf<T>>(value) >> kSignShift<T>);
}

template <class T>
inline MEZZOTINT_INLINE SignedOf<T> to_ordered(UnsignedOf<T> bits) {
  const UnsignedOf<T> sign = negative<T>(bits), magnitude = bits & static_cast<ElementOf<T>>(~kSignBit<T>);
  return reinterpret_cast<SignedOf<T>>((magnitude ^ sign) - sign + kOrderedShift<T>);
}

template <class T>
inline MEZZOTINT_INLINE UnsignedOf<T> from_ordered(SignedOf<T> ordered) {
  const UnsignedOf<T> value = reinterpret_cast<UnsignedOf<T>>(ordered) - kOrderedShift<T>;
  const UnsignedOf<T> sign = negative<T>(value);
  return ((value ^ sign) - sign) | (sign & kSignBit<T>);
}

// -infinity.
template <class T>
inline MEZZOTINT_INLINE SignedOf<T> lowest() {
  return reinterpret_cast<SignedOf<T>>(UnsignedOf<T>{} + kSignBit<T>);
}

}  // namespace
}  // namespace mezzotint
