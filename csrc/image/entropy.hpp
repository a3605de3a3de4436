// How are the Huffman codes of a baseline JPEG file decoded fast? With one look-up a coefficient, and few branches.
//
// This is most of a decoder's time. libjpeg-turbo looks a code up in eight bits, then fetches the bits behind it in a
// second step. Here one table entry tells how many bits code and value take together, so that the next look-up waits
// for nothing but that number, and the value is put together beside.
//
// Nothing is made up: whatever a flawless file would not have ends the decoding, and libjpeg shall judge the file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mezzotint {

constexpr int kBlockValues = 64;
constexpr int kMostBlocks = 10;     // of a unit (MCU)
constexpr int kMostComponents = 4;  // of a scan

// A table as a file holds it: how many codes there are of 1 to 16 bits (at 0: none), and their symbols in order.
struct HuffmanSpec {
  const std::uint8_t* bits;     // [17]
  const std::uint8_t* symbols;  // [256]
};

// What is looked up. Made anew only where the file has other codes than the last one.
class HuffmanTable {
 public:
  static constexpr int kLookBits = 10;

  // Returns false where the codes are not a legal tree (also where a difference is said to take over 15 bits).
  bool make(const HuffmanSpec& spec, bool differences);

  // By the next kLookBits bits: all bits of code and value (bits 0 to 7), those of the code (8 to 15), 63 less those
  // of the value (16 to 23), and by how much the place in the block moves (24 to 31). 0: the code is longer.
  std::array<std::uint32_t, std::size_t{1} << kLookBits> look{};

  // The entry of a code that is longer than kLookBits, by the next 16 bits; 0: there is no such code.
  [[nodiscard]] std::uint32_t longer(std::uint32_t bits) const;

 private:
  std::array<std::uint8_t, 17> counts_{};
  std::array<std::uint8_t, 256> symbols_{};
  std::array<std::uint32_t, 17> limit_{};  // of 16 bits that begin with a code of at most so many: they are below
  std::array<std::int32_t, 17> offset_{};  // from a code of so many bits to the place of its symbol
  bool made_ = false, differences_ = false;
};

// The entropy-coded units of one scan. A plain structure without a destructor: libjpeg leaves it by longjmp.
struct EntropyScan {
  const std::uint8_t* next;
  const std::uint8_t* end;
  std::uint64_t held;  // bits, the next one highest; what lies below `bits` of them is not settled
  std::int64_t bits;
  std::uint32_t previous[kMostComponents];  // DC values

  int blocks;  // of a unit
  std::uint8_t component[kMostBlocks];
  const HuffmanTable* dc[kMostBlocks];
  const HuffmanTable* ac[kMostBlocks];

  std::uint32_t restart_interval, until_restart;  // units; 0: none
  std::uint8_t restarts;                          // so far, modulo 8

  // Decodes the next unit into blocks of coefficients in natural order, which must be zero; null: it is skipped.
  // Returns false where the data are not flawless.
  bool unit(std::int16_t (*const* to)[kBlockValues]);

 private:
  bool restart();
};

}  // namespace mezzotint
