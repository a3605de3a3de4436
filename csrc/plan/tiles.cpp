#include "plan/tiles.hpp"

#include <algorithm>

#include "core/divide.hpp"
#include "runtime/level1.hpp"

namespace mezzotint {
namespace {

constexpr std::int64_t kLargeLevel1 = 48 << 10;    // Zen 5, and what else has more than the 32 KiB of Zen 4
constexpr std::int64_t kLevel1Bytes = 24 << 10;    // of either, the rest is for outputs and nonzeros
constexpr std::int64_t kLevel2Bytes = 512 << 10;   // of the usual 1 to 2 MiB
constexpr std::int64_t kStripBytes = 256 << 10;    // of level 2, for output gradients
constexpr std::int64_t kOuterBytes = 4 << 20;      // the share of a last-level cache that a call may count on
constexpr std::int64_t kNonzerosPerPart = 8;       // fewer would not pay for storing and loading the tile between parts
constexpr std::int64_t kHalfNonzerosPerPart = 20;  // of a 16-bit type, which takes a cell of 32 images in half the time
constexpr std::int64_t kNonzerosForRows = 20;      // of a channel of the result, from which tiles of two rows pay
constexpr std::int64_t kNonzerosForTotals = 80;    // that make up for folding the totals of a narrow tile
constexpr std::int64_t kHalfProductsPerPart = 72;  // nonzeros and cells of a narrow tile
constexpr std::int64_t kChunks = 16;               // enough for the threads that share a memory
constexpr std::int64_t kFewChunks = 4;             // of an input that stays in a cache, though not in every thread's
constexpr std::int64_t kNarrowImage = 10;          // columns: narrow tiles pay from here
constexpr std::int64_t kWideImage = 28;            // up to here
constexpr std::int64_t kSamplesPerPart = 8;        // nonzeros that share the loads of an output gradient
constexpr std::int64_t kSumsBytes = 16 << 20;      // for all chunks
constexpr std::int64_t kSampledBytes = 40 << 10;   // of level 1, for the input of a weight gradient
constexpr std::int64_t kSampledAtMost = 80 << 10;  // beyond, bands become smaller
constexpr std::int64_t kPointwiseBand = 14;        // pixels per summation that make the final folding cheap enough
constexpr std::int64_t kWindowBand = 56;           // and few pixels to be read for two bands
constexpr std::int64_t kNarrowBand = 30;           // where so many would not leave enough channels in level 1
constexpr std::int64_t kNarrowColumns = 16;

// What was measured to pay with a level-1 cache of the one size or the other.
struct Level1 {
  std::int64_t part_bytes;      // no part of a gather may be larger
  std::int64_t kept_bytes;      // of level 2, for sums that wait between parts
  std::int64_t samples_beyond;  // of a pointwise weight gradient whose parts do not fit: kSamplesPerPart for it
  std::int64_t band_in_row;     // of any: pixels that are summed at a time where a row has so many
};
constexpr Level1 kSmall{40 << 10, 512 << 10, 16, 28};
constexpr Level1 kLarge{56 << 10, 256 << 10, kSamplesPerPart, kPointwiseBand};

bool has_large_level1() {
  return level1_bytes() >= kLargeLevel1;
}

const Level1& level1() {
  return has_large_level1() ? kLarge : kSmall;
}

// Whether tiles of two rows pay: of a 3x3 window's input 24 lines go through level 1 for eight cells, not 30. Not where
// tiles would be left half empty, nor for FP32, whose rows of 16 cells read little beside them.
bool in_two_rows(Dtype dtype, const Conv& conv, std::int64_t rows, std::int64_t columns, std::int64_t nonzeros,
                 std::int64_t cells) {
  const bool overlaps = conv.kernel_h > 1 && conv.kernel_w > 1 && conv.stride_h * conv.dilation_h == 1;
  return dtype == Dtype::kBFloat16 && overlaps && nonzeros >= kNonzerosForRows && rows >= 2 && cells >= 8 &&
         columns % (cells / 2) == 0;
}

// A band of about so many pixels, of at most so many columns, which are cut evenly.
Band band_of(std::int64_t rows, std::int64_t columns, std::int64_t pixels, std::int64_t widest) {
  const std::int64_t across = divide_up(columns, divide_up(columns, std::min(pixels, widest)));
  return {std::clamp<std::int64_t>((pixels + across / 2) / across, 1, std::max<std::int64_t>(1, rows)), across, 0};
}

// Of the input that a band reads; or steps over in a row, since such cells' places in the cache stay empty.
std::int64_t channel_bytes(const Conv& conv, const Band& band) {
  const std::int64_t rows =
      conv.kernel_h == 1 ? band.rows : (band.rows - 1) * conv.stride_h + (conv.kernel_h - 1) * conv.dilation_h + 1;
  return rows * (band.columns * conv.stride_w + (conv.kernel_w - 1) * conv.dilation_w) * kCellBytes;
}

}  // namespace

TileShape choose_tile(Dtype dtype, const Conv& conv, std::int64_t rows, std::int64_t columns, std::int64_t nonzeros,
                      std::int64_t cells) {
  if (in_two_rows(dtype, conv, rows, columns, nonzeros, cells)) {
    return {2, cells / 2};
  }
  if (columns >= cells) {
    return {1, divide_up(columns, divide_up(columns, cells))};
  }
  std::int64_t tile_rows = 1;
  while (tile_rows < 4 && 2 * tile_rows * columns <= cells && 2 * tile_rows <= rows) {
    tile_rows *= 2;
  }
  return {tile_rows, std::max<std::int64_t>(columns, 1)};
}

std::int64_t cells_for_level1(const Conv& conv, std::int64_t columns, std::int64_t nonzeros, bool totals,
                              std::int64_t cells) {
  const bool cut = conv.taps() == 1 && conv.stride_w == 1 && columns >= kNarrowImage && columns <= kWideImage;
  if (has_large_level1() || !cut || nonzeros < (totals ? kNonzerosForTotals : kHalfNonzerosPerPart)) {
    return cells;
  }
  // Channels of 28 pixels lie a multiple of 4 cells apart: a tile of fewer would leave sets of the cache unused.
  return std::min<std::int64_t>(cells, columns < kWideImage ? 2 : 4);
}

std::int64_t gather_part(Dtype dtype, const Conv& conv, TileShape tile, std::int64_t step_h, std::int64_t step_w,
                         Channels channels, std::int64_t nnz) {
  const std::int64_t height = (tile.rows - 1) * step_h + conv.kernel_h;
  const std::int64_t width = (tile.columns - 1) * step_w + (conv.kernel_w - 1) * conv.dilation_w + 1;
  const std::int64_t channel_bytes = height * width * kCellBytes;
  const std::int64_t fitting = std::max<std::int64_t>(1, kLevel1Bytes / channel_bytes);
  const std::int64_t pairs = channels.summed * channels.gathered;  // of channels, which share the nonzeros
  const bool half = dtype != Dtype::kFloat32;
  const std::int64_t least =
      half ? std::max(kHalfNonzerosPerPart, kHalfProductsPerPart / (tile.rows * tile.columns)) : kNonzerosPerPart;
  const std::int64_t part = std::max(fitting, divide_up(least * pairs, std::max<std::int64_t>(1, nnz)));
  const std::int64_t all = std::max<std::int64_t>(1, channels.summed);
  const bool too_large = part * channel_bytes > level1().part_bytes;
  const std::int64_t kept = channels.gathered * tile.rows * tile.columns * 2 * kCellBytes;
  // A window's cells serve several nonzeros of a part, which makes up for sums that wait in level 2.
  const bool too_much = conv.taps() == 1 && kept > level1().kept_bytes;
  const bool fits = half && all * channel_bytes <= level1().part_bytes;
  return (half && (too_large || too_much)) || fits || part >= all ? all : divide_up(all, divide_up(all, part));
}

Band choose_band(const Conv& conv, std::int64_t rows, std::int64_t columns, std::int64_t nnz) {
  columns = std::max<std::int64_t>(1, columns);
  nnz = std::max<std::int64_t>(1, nnz);
  const bool pointwise = conv.kernel_h == 1 && conv.kernel_w == 1;  // no input lies between two bands, to be read twice
  const std::int64_t a_row = std::max<std::int64_t>(1, nnz / std::max<std::int64_t>(1, conv.out));
  const auto channels_for = [&](std::int64_t samples) {
    return divide_up(samples * conv.out * conv.in_per_group, nnz);
  };
  std::int64_t least = channels_for(kSamplesPerPart);
  std::int64_t pixels = kWindowBand;
  if (pointwise) {
    const std::int64_t in_row = std::clamp(columns, kPointwiseBand, level1().band_in_row);
    if (least * in_row * kCellBytes > kSampledBytes) {
      least = channels_for(level1().samples_beyond);
    }
    const bool fits = least * in_row * kCellBytes <= kStripBytes;
    pixels = std::clamp(kPointwiseBand * kSamplesPerPart / a_row, fits ? in_row : kPointwiseBand, kWindowBand);
  }
  Band band = band_of(rows, columns, pixels, columns);
  const auto exceeds = [&](std::int64_t bytes) { return !pointwise && least * channel_bytes(conv, band) > bytes; };
  if (conv.stride_w == 1 && exceeds(kSampledBytes)) {
    band = band_of(rows, columns, kNarrowBand, kNarrowColumns);
  } else {
    while (pixels * conv.stride_w > kWindowBand / 2 && exceeds(kSampledAtMost)) {
      pixels /= 2;
      band = band_of(rows, columns, pixels, columns);
    }
  }
  const std::int64_t bytes = channel_bytes(conv, band);
  const std::int64_t part = std::max(kSampledBytes / bytes, std::min(least, kLevel2Bytes / bytes));
  band.part_channels = std::clamp<std::int64_t>(part, 1, std::max<std::int64_t>(1, conv.in_per_group));
  return band;
}

std::int64_t choose_chunks(const Packed& x, const Packed& gy, const Band& band, std::int64_t nnz) {
  const std::int64_t pieces = gy.blocks * divide_up(gy.height, band.rows) * divide_up(gy.width, band.columns);
  const std::int64_t chunks = chunks_of(pieces, nnz);
  if (exceeds_caches(x)) {
    return chunks;
  }
  const bool pays = kFewChunks * nnz * static_cast<std::int64_t>(sizeof(float)) <= cells_of(x) * kCellBytes;
  return pays ? std::min(chunks, kFewChunks) : 1;
}

std::int64_t chunks_of(std::int64_t pieces, std::int64_t nnz) {
  const std::int64_t fitting = kSumsBytes / std::max<std::int64_t>(1, nnz * static_cast<std::int64_t>(sizeof(float)));
  return std::clamp<std::int64_t>(std::min(pieces, fitting), 1, kChunks);
}

std::int64_t strip_columns(std::int64_t channels) {
  return std::clamp<std::int64_t>(kStripBytes / (kCellBytes * std::max<std::int64_t>(1, channels)), 1, kPointwiseBand);
}

bool exceeds_caches(const Packed& view) {
  return cells_of(view) * kCellBytes > kOuterBytes;
}

std::int64_t blocks_at_a_time(std::int64_t blocks, std::int64_t block_bytes) {
  const std::int64_t fitting = kOuterBytes / std::max<std::int64_t>(1, block_bytes);
  return std::clamp<std::int64_t>(fitting, 1, std::max<std::int64_t>(1, blocks));
}

}  // namespace mezzotint
