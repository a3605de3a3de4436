// How is a job cut so that registers and caches are used well? Rules on the shape alone: never on the threads, so that
// the cut cannot change a result between runs.
#pragma once

#include <cstdint>

#include "core/packed.hpp"
#include "core/tensor.hpp"

namespace mezzotint {

struct TileShape {
  std::int64_t rows, columns;
};

// Nonzeros of one of so many channels.
inline std::int64_t per_channel(std::int64_t nnz, std::int64_t channels) {
  return channels > 0 ? nnz / channels : 0;
}

// The register tile of a gather over an output of rows x columns, of at most `cells` cells; `nonzeros`: of a channel of
// the result.
TileShape choose_tile(Dtype dtype, const Conv& conv, std::int64_t rows, std::int64_t columns, std::int64_t nonzeros,
                      std::int64_t cells);

// How wide a tile may be for a kernel that adds two nonzeros at a time, so fast that it waits for level 1: in a small
// one, narrow tiles have room for more channels. `nonzeros`: of a channel of the result; `totals`:
// whether each tile leaves its totals.
std::int64_t cells_for_level1(const Conv& conv, std::int64_t columns, std::int64_t nonzeros, bool totals,
                              std::int64_t cells);

// How many channels of the summed side make a part of a gather: as many as keep the input of one tile in the level-1
// cache, but enough that a part has several nonzeros for every channel of the other side; all where that is too many
// for the cache. Between parts the sums of a tile wait in scratch. `step_h`, `step_w`: input positions for one output
// position.
struct Channels {
  std::int64_t summed;    // of a group
  std::int64_t gathered;  // of the result, in all, counted for each phase
};
std::int64_t gather_part(Dtype dtype, const Conv& conv, TileShape tile, std::int64_t step_h, std::int64_t step_w,
                         Channels channels, std::int64_t nnz);

// Whether activations are too large to stay in a cache between two passes over them.
bool exceeds_caches(const Packed& view);

// Output pixels that the weight gradient sums at a time, and the input channels of a part: as many as keep its input in
// the level-1 cache, but enough that a part has several nonzeros for every output channel.
struct Band {
  std::int64_t rows, columns, part_channels;
};
Band choose_band(const Conv& conv, std::int64_t rows, std::int64_t columns, std::int64_t nnz);

// Chunks of bands whose sums are kept apart, so that each thread has images of its own: many where the input exceeds
// caches, else a few, or one where their sums would be larger than the input and the threads share the nonzeros
// instead.
std::int64_t choose_chunks(const Packed& x, const Packed& gy, const Band& band, std::int64_t nnz);

// Chunks of `pieces` pieces of the images, whose sums at the nonzeros are kept apart.
std::int64_t chunks_of(std::int64_t pieces, std::int64_t nnz);

// Pixels whose output gradients, of `channels` channels, stay in the level-2 cache beside what is read for them.
std::int64_t strip_columns(std::int64_t channels);

// Image blocks that are packed and worked on at a time, each of `block_bytes` bytes: as many as the outer cache holds.
std::int64_t blocks_at_a_time(std::int64_t blocks, std::int64_t block_bytes);

}  // namespace mezzotint
