// How is a part of a JPEG file decoded? By the libjpeg-turbo that Pillow brings along, so that the levels are Pillow's.
//
// Nothing is linked: the library is found at run time and called through the ABI of libjpeg 6.2, which
// csrc/third_party/libjpeg-turbo describes. libjpeg itself compares the version and the size of its structures at
// every call, so a library with another ABI is refused, not misread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "drive/levels.hpp"

namespace mezzotint {

// Uses the library at `path` from now on. Returns an empty string, or why it cannot be used.
std::string jpeg_use(const std::string& path);

// Whether the library in use lets us decode the Huffman codes of baseline files ourselves (image/entropy.hpp): the
// structure through which that is done is the same in all versions with this ABI, but no part of it.
bool jpeg_own_entropy();

enum class JpegColours : std::uint8_t { kGrey, kRgb, kOther };

struct JpegHeader {
  std::int64_t height, width;
  JpegColours colours;  // kRgb: of three components that libjpeg can turn into RGB
};

// The header of a file. Returns false where libjpeg finds the slightest fault in it, or none is in use.
bool jpeg_header(const std::uint8_t* data, std::size_t size, JpegHeader& header);

// Columns that are decoded beside a box, on each side at most: libjpeg decodes whole blocks, of up to 32 columns, and
// interpolates colours from neighbours, which it has not at the edges of what it decodes.
constexpr std::int64_t kJpegMargin = 16 + 32;

// Decodes `box` of the file as RGB, grey as three equal channels, and returns in which column of `to` it begins.
//
// to: [box.height][width][3], width at least box.width + 2 * kJpegMargin; or box.width, for a box of whole rows. Its
// other columns are undefined afterwards. (Rows are decoded where they stay: copying them would cost a tenth more.)
//
// Negative where the file has a fault up to the last row of the box, is cut off behind it, or cannot be turned into
// RGB; the result is then undefined. What lies behind the box is not looked at, except for the mark that ends the file.
//
// reduction 2, 4 or 8: the image, and so the box, are that many times smaller, rounded up. libjpeg makes them of the
// lower frequencies of a block, which takes less time the smaller they are.
std::int64_t jpeg_decode(const std::uint8_t* data, std::size_t size, const Box& box, const Levels& to,
                         int reduction = 1);

// Decodes `box` of the file and resizes `source`, a rectangle of the image, as `how` says (how.from is its size):
// nothing but the result leaves the caches. With a reduction both are rounded to pixels of the reduced image. Returns
// false where jpeg_decode refuses. Throws InvalidInput as resize_levels does.
bool jpeg_resize(const std::uint8_t* data, std::size_t size, Box box, Box source, Resizing how, int reduction,
                 const Levels& result, const Context& with);

}  // namespace mezzotint
