// What happens to a tile between its sum and its store? Batch norm, residual, ReLU, the gradient of a ReLU, and the
// reductions of a batch norm, while the numbers are in registers anyway.
#pragma once

#include "kernels/jobs.hpp"
#include "kernels/tile.hpp"

namespace mezzotint {
namespace {

// Where the tensors beside a tile lie: pointers at its first pixel, channel 0.
struct EpiloguePlace {
  const Cell* residual;
  const Cell* mask;
  const Cell* companion;
  float* sums;  // of the tile, channel 0
};

bool needs_epilogue(const Epilogue& e) {
  return e.scale || e.shift || e.residual.at || e.relu || e.mask.at || e.sums;
}

const Cell* place_of(const Beside& beside, std::int64_t block, std::int64_t row, std::int64_t cells) {
  return beside.at ? beside.at + block * beside.block + row * beside.row + cells : nullptr;
}

EpiloguePlace epilogue_place(const GatherJob& job, std::int64_t tile, std::int64_t block, std::int64_t row,
                             std::int64_t column) {
  const Epilogue& e = job.epilogue;
  const std::int64_t cells = column * job.y_column;
  return {place_of(e.residual, block, row, cells), place_of(e.mask, block, row, cells),
          place_of(e.companion, block, row, cells), e.sums ? e.sums + tile * job.channels * 2 : nullptr};
}

// Asks for what an epilogue will read beside the tile of `channel`, which lies too far from that of the channel before
// it for a hardware prefetcher.
template <int kRows, int kColumns>
inline MEZZOTINT_INLINE void fetch_beside(const Epilogue& e, const EpiloguePlace& place, std::int64_t column,
                                          std::int64_t channel) {
  const auto fetch = [&](const Beside& beside, const Cell* at) MEZZOTINT_INLINE {
    if (at) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
        for (int c = 0; c < kColumns; ++c) {
          __builtin_prefetch(at + channel * beside.channel + r * beside.row + c * column, 0, 2);
        }
      }
    }
  };
  fetch(e.residual, place.residual);
  fetch(e.mask, place.mask);
  if (e.companion.at != e.mask.at) {
    fetch(e.companion, place.companion);
  }
}

template <class T, int kRows, int kColumns>
inline MEZZOTINT_INLINE void apply_mask(Tile<T, kRows, kColumns>& tile, const Epilogue& e, const Cell* mask,
                                        std::int64_t column, std::int64_t channel) {
  const Vec scale = broadcast(e.mask_scale ? e.mask_scale[channel] : 1.0f);
  const Vec shift = broadcast(e.mask_shift ? e.mask_shift[channel] : 0.0f);
  each_cell(tile, e.mask.row, column, [&](Wide<T>& sum, std::int64_t at) MEZZOTINT_INLINE {
    each_vec(sum, CellOf<T>::load(mask + at),
             [&](Vec& v, Vec m) MEZZOTINT_INLINE { v = m * scale + shift <= 0.0f ? Vec{} : v; });  // keeps NaN
  });
}

inline MEZZOTINT_INLINE float total(Vec value) {
  const Vec4 quarters = fold(value);
  return (quarters[0] + quarters[1]) + (quarters[2] + quarters[3]);
}

template <class T, int kRows, int kColumns>
inline MEZZOTINT_INLINE void add_sums(Tile<T, kRows, kColumns>& tile, const Epilogue& e, const Cell* companion,
                                      std::int64_t column, float* sums) {
  Vec first[2] = {}, second[2] = {};
  int turn = 0;
  each_cell(tile, e.companion.row, column, [&](Wide<T>& sum, std::int64_t at) MEZZOTINT_INLINE {
    const Wide<T> other = companion ? CellOf<T>::load(companion + at) : sum;
    each_vec(sum, other, [&](Vec& v, Vec o) MEZZOTINT_INLINE {
      first[turn] += v;
      second[turn] += v * o;
      turn ^= 1;
    });
  });
  sums[0] += total(first[0] + first[1]);
  sums[1] += total(second[0] + second[1]);
}

template <class T, int kRows, int kColumns>
inline MEZZOTINT_INLINE void finish(Tile<T, kRows, kColumns>& tile, const Epilogue& e, const EpiloguePlace& place,
                                    std::int64_t column, std::int64_t channel) {
  if (e.scale || e.shift) {
    const Vec scale = broadcast(e.scale ? e.scale[channel] : 1.0f);
    const Vec shift = broadcast(e.shift ? e.shift[channel] : 0.0f);
    each_cell(tile, 0, 0, [&](Wide<T>& sum, std::int64_t) MEZZOTINT_INLINE {
      each_vec(sum, [&](Vec& v) MEZZOTINT_INLINE { v = v * scale + shift; });
    });
  }
  if (place.residual) {
    const Cell* from = place.residual + channel * e.residual.channel;
    each_cell(tile, e.residual.row, column, [&](Wide<T>& sum, std::int64_t at) MEZZOTINT_INLINE {
      each_vec(sum, CellOf<T>::load(from + at), [](Vec& v, Vec r) MEZZOTINT_INLINE { v += r; });
    });
  }
  if (e.relu) {
    each_cell(tile, 0, 0, [&](Wide<T>& sum, std::int64_t) MEZZOTINT_INLINE {
      each_vec(sum, [](Vec& v) MEZZOTINT_INLINE { v = v < 0.0f ? Vec{} : v; });  // keeps NaN
    });
  }
  if (place.mask) {
    apply_mask(tile, e, place.mask + channel * e.mask.channel, column, channel);
  }
  if (place.sums) {
    const Cell* companion = place.companion ? place.companion + channel * e.companion.channel : nullptr;
    add_sums(tile, e, companion, column, place.sums + channel * 2);
  }
}

}  // namespace
}  // namespace mezzotint
