#include "drive/scatter.hpp"

#include <algorithm>
#include <cstring>

#include "core/divide.hpp"
#include "plan/read_value.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kBlockBytes = 1 << 14;  // zeros are still in level 1 when the nonzeros come

// A value that is rounded already; the dense type is at least as wide as what it was rounded to.
void store(float value, float& to) {
  to = value;
}
void store(float value, BFloat16& to) {
  to.bits = static_cast<std::uint16_t>(bits_of(value) >> 16);
}
void store(float value, Float16& to) {
  narrow(value, to);
}

// Blocks [first, last) of dense[0, count). Positions are looked at as they come: one that lies in another block than
// those around it is refused, and nothing is written outside.
template <class T, class Value>
void scatter_blocks(const SparseWeight& weight, const Value& value, T* dense, std::int64_t count, std::int64_t first,
                    std::int64_t last) {
  constexpr std::int64_t kBlock = kBlockBytes / static_cast<std::int64_t>(sizeof(T));
  const std::int32_t* const indices = weight.indices;
  const std::int32_t* const indices_end = indices + weight.nnz;
  std::int64_t k = std::lower_bound(indices, indices_end, first * kBlock) - indices;
  for (std::int64_t block = first; block < last; ++block) {
    const std::int64_t begin = block * kBlock, end = std::min(begin + kBlock, count);
    std::memset(static_cast<void*>(dense + begin), 0, static_cast<std::size_t>(end - begin) * sizeof(T));
    for (; k < weight.nnz && indices[k] < end; ++k) {
      if (indices[k] < begin) {
        refuse_indices();
      }
      store(value(k), dense[indices[k]]);
    }
  }
  if (k != std::lower_bound(indices, indices_end, std::min(last * kBlock, count)) - indices) {
    refuse_indices();
  }
}

template <class T>
void scatter_as(const SparseWeight& weight, T* dense, std::int64_t count, int threads) {
  if (weight.nnz > 0 && (weight.indices[0] < 0 || weight.indices[weight.nnz - 1] >= count)) {
    refuse_indices();
  }
  const std::int64_t blocks = divide_up(count * static_cast<std::int64_t>(sizeof(T)), kBlockBytes);
  const int team = useful_threads(weight.nnz * kNonzeroCost, threads);
  with_reader(weight, [&](const auto& value) {
    parallel_ranges(blocks, team, [&](std::int64_t first, std::int64_t last) {
      scatter_blocks(weight, value, dense, count, first, last);
    });
  });
}

}  // namespace

void scatter(const SparseWeight& weight, void* dense, Dtype dtype, std::int64_t count, int threads) {
  switch (dtype) {
    case Dtype::kBFloat16:
      return scatter_as(weight, static_cast<BFloat16*>(dense), count, threads);
    case Dtype::kFloat16:
      return scatter_as(weight, static_cast<Float16*>(dense), count, threads);
    default:
      return scatter_as(weight, static_cast<float*>(dense), count, threads);
  }
}

}  // namespace mezzotint
