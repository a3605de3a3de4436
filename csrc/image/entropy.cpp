#include "image/entropy.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mezzotint {
namespace {

constexpr std::uint32_t kEnd = 64;  // a move behind the last place of every block

// The place in natural order of the k-th coefficient of a block.
constexpr std::array<std::uint8_t, kBlockValues> kNatural{
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

std::uint32_t entry_of(std::uint32_t length, std::uint32_t symbol, bool differences) {
  const std::uint32_t value = differences ? symbol : symbol & 15U, run = differences ? 0 : symbol >> 4U;
  const std::uint32_t move = differences ? 0 : value == 0 && run != 15 ? kEnd : run + 1;
  return (length + value) | length << 8U | (63 - value) << 16U | move << 24U;
}

inline std::uint64_t eight_bytes(const std::uint8_t* from) {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return std::endian::native == std::endian::little ? __builtin_bswap64(word) : word;
}

// Whether any byte is 0xFF.
inline bool has_ff(std::uint64_t word) {
  constexpr std::uint64_t kHigh = 0x8080808080808080U, kOnes = 0x0101010101010101U;
  return ((~word - kOnes) & word & kHigh) != 0;
}

// The part of a scan that its loop keeps in registers.
struct Reader {
  const std::uint8_t* next;
  const std::uint8_t* end;
  std::uint64_t held;
  std::int64_t bits;

  // Afterwards at least 56 bits are held, or all that come before a marker.
  inline __attribute__((always_inline)) void fill() {
    if (end - next >= 8) [[likely]] {
      const std::uint64_t word = eight_bytes(next);
      if (!has_ff(word) && bits >= 0) [[likely]] {
        held |= word >> bits;
        next += (63 - bits) >> 3;
        bits |= 56;
        return;
      }
    }
    *this = filled_bytewise(*this);
  }

  // By value, so that the loop's own stays in registers.
  static __attribute__((noinline)) Reader filled_bytewise(Reader reader) {
    while (reader.bits >= 0 && reader.bits <= 56 && reader.next < reader.end) {
      const std::uint64_t byte = *reader.next;
      if (byte == 0xFF) {
        if (reader.end - reader.next < 2 || reader.next[1] != 0) {
          break;
        }
        ++reader.next;
      }
      ++reader.next;
      reader.held |= byte << (56 - reader.bits);
      reader.bits += 8;
    }
    return reader;
  }

  // 0: the code is longer than what is looked up.
  inline __attribute__((always_inline)) std::uint32_t look(const HuffmanTable& table) const {
    return table.look[held >> (64 - HuffmanTable::kLookBits)];
  }

  // Also of a longer code; 0: there is no such code.
  inline __attribute__((always_inline)) std::uint32_t find(const HuffmanTable& table) const {
    const std::uint32_t entry = look(table);
    return entry != 0 ? entry : table.longer(static_cast<std::uint32_t>(held >> 48));
  }

  // Takes the bits of an entry and returns its value.
  inline __attribute__((always_inline)) std::int32_t take(std::uint32_t entry) {
    const std::uint64_t value = held << (entry >> 8 & 63U);
    const std::uint32_t spare = entry >> 16 & 63U;
    held <<= entry & 63U;
    bits -= entry & 63U;
    // A value that begins with a zero is negative: its bits are those of the value less one, of as many bits.
    const std::uint64_t ones = (~std::uint64_t{0} >> 1) >> spare;
    const auto positive = static_cast<std::uint64_t>(static_cast<std::int64_t>(value) >> 63);
    return static_cast<std::int32_t>(((value >> 1) >> spare) - (ones & ~positive));
  }

  inline __attribute__((always_inline)) void skip(std::uint32_t entry) {
    held <<= entry & 63U;
    bits -= entry & 63U;
  }
};

// The coefficients of a block but for its first. Returns false where a code does not exist, or they are too many.
template <bool kStore>
inline __attribute__((always_inline)) bool coefficients(Reader& reader, const HuffmanTable& table, std::int16_t* to) {
  constexpr std::uint32_t kLast = kBlockValues - 1;
  std::uint32_t at = 0, entry = 0;
  const auto pass = [&]() __attribute__((always_inline)) {
    if constexpr (kStore) {
      to[kNatural[at]] = static_cast<std::int16_t>(reader.take(entry));
    } else {
      reader.skip(entry);
    }
  };
  for (;;) {
    reader.fill();  // 56 bits: enough for a code that is looked up (25 with its value), and for any behind it (31)
    entry = reader.look(table);
    at += entry >> 24;
    if (at >= kLast) {
      break;
    }
    if (entry != 0) [[likely]] {
      pass();
      entry = reader.look(table);
      at += entry >> 24;
      if (at >= kLast) {
        break;
      }
    }
    if (entry == 0) [[unlikely]] {
      entry = table.longer(static_cast<std::uint32_t>(reader.held >> 48));
      at += entry >> 24;
      if (at >= kLast) {
        break;
      }
      if (entry == 0) {
        return false;
      }
    }
    pass();
  }
  if (at == kLast) {
    pass();
    return true;
  }
  reader.skip(entry);
  return entry >> 24 == kEnd;
}

}  // namespace

bool HuffmanTable::make(const HuffmanSpec& spec, bool differences) {
  std::size_t symbols = 0;
  for (int length = 1; length <= 16; ++length) {
    symbols += spec.bits[length];
  }
  if (symbols > symbols_.size()) {
    return false;
  }
  if (made_ && differences == differences_ && std::equal(counts_.begin() + 1, counts_.end(), spec.bits + 1) &&
      std::memcmp(symbols_.data(), spec.symbols, symbols) == 0) {
    return true;
  }
  made_ = false;
  differences_ = differences;
  std::copy_n(spec.bits, counts_.size(), counts_.begin());
  std::copy_n(spec.symbols, symbols, symbols_.begin());
  look.fill(0);
  std::uint32_t code = 0, place = 0;
  for (std::uint32_t length = 1; length <= 16; ++length, code <<= 1U) {
    offset_[length] = static_cast<std::int32_t>(place) - static_cast<std::int32_t>(code);
    for (int i = 0; i < counts_[length]; ++i, ++code, ++place) {
      if (differences && symbols_[place] > 15) {
        return false;
      }
      if (length <= kLookBits && code + 1 < 1U << length) {
        const std::uint32_t spread = 1U << (kLookBits - length);
        std::fill_n(look.begin() + code * spread, spread, entry_of(length, symbols_[place], differences));
      }
    }
    if (counts_[length] != 0 && code >= 1U << length) {  // no code may be all ones
      return false;
    }
    limit_[length] = code << (16 - length);
  }
  made_ = true;
  return true;
}

std::uint32_t HuffmanTable::longer(std::uint32_t bits) const {
  for (std::uint32_t length = kLookBits + 1; length <= 16; ++length) {
    if (bits < limit_[length]) {
      const auto place = static_cast<std::int32_t>(bits >> (16 - length)) + offset_[length];
      return entry_of(length, symbols_[static_cast<std::size_t>(place)], differences_);
    }
  }
  return 0;
}

bool EntropyScan::restart() {
  // What is left of the last byte is padding; a whole byte would be too many.
  if (bits >= 8 || end - next < 2 || next[0] != 0xFF || next[1] != 0xD0 + restarts) {
    return false;
  }
  next += 2;
  held = 0;
  bits = 0;
  restarts = (restarts + 1) & 7U;
  until_restart = restart_interval;
  std::fill_n(previous, kMostComponents, 0U);
  return true;
}

bool EntropyScan::unit(std::int16_t (*const* to)[kBlockValues]) {
  if (restart_interval != 0 && until_restart-- == 0) {
    if (!restart()) {
      return false;
    }
    --until_restart;
  }
  Reader reader{next, end, held, bits};
  for (int block = 0; block < blocks; ++block) {
    reader.fill();
    const std::uint32_t entry = reader.find(*dc[block]);
    if (entry == 0) {
      return false;
    }
    std::uint32_t& value = previous[component[block]];
    value += static_cast<std::uint32_t>(reader.take(entry));
    bool good;
    if (to != nullptr) {
      (*to[block])[0] = static_cast<std::int16_t>(value);
      good = coefficients<true>(reader, *ac[block], *to[block]);
    } else {
      good = coefficients<false>(reader, *ac[block], nullptr);
    }
    if (!good || reader.bits < 0) {  // taken from behind a marker, or from behind the end
      return false;
    }
  }
  next = reader.next;
  held = reader.held;
  bits = reader.bits;
  return true;
}

}  // namespace mezzotint
