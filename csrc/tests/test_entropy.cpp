// Are Huffman-coded blocks decoded to the coefficients that were coded, and is everything else refused?
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "image/entropy.hpp"
#include "tests/check.hpp"
#include "tests/samples.hpp"

namespace mezzotint::tests {
namespace {

constexpr int kNatural[kBlockValues] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                        12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                        35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                        58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

using Block = std::int16_t[kBlockValues];

// A table of which every symbol has a code: few of them short ones, most of 9 to 16 bits.
struct Code {
  std::array<std::uint8_t, 17> bits{};
  std::array<std::uint8_t, 256> symbols{};
  std::array<int, 256> code{}, length{};

  Code(Random& random, std::vector<std::uint8_t> of) {
    std::shuffle(of.begin(), of.end(), random);
    std::copy(of.begin(), of.end(), symbols.begin());
    std::size_t next = 0;
    int value = 0;
    for (int size = 1; size <= 16; ++size, value <<= 1) {
      // So many that the rest still finds codes: at 16 bits there must be room for all but the one of all ones.
      while (next < of.size() && value < (1 << size) - 1 && pick(random, 0, 2) != 0 &&
             static_cast<int>(of.size() - next - 1) < ((1 << size) - 1 - value) << (16 - size)) {
        put(next++, value++, size);
      }
      while (size == 16 && next < of.size()) {
        put(next++, value++, size);
      }
    }
  }

  void put(std::size_t place, int value, int size) {
    code[symbols[place]] = value;
    length[symbols[place]] = size;
    ++bits[static_cast<std::size_t>(size)];
  }
};

class Writer {
 public:
  std::vector<std::uint8_t> bytes;

  void put(int value, int count) {
    for (int i = count - 1; i >= 0; --i) {
      held_ = held_ << 1 | (value >> i & 1);
      if (++count_ == 8) {
        flush();
      }
    }
  }
  void symbol(const Code& code, int symbol) { put(code.code[symbol], code.length[symbol]); }
  void value(int value, int size) { put(value < 0 ? value + (1 << size) - 1 : value, size); }
  void align() {
    while (count_ != 0) {
      put(1, 1);
    }
  }

 private:
  void flush() {
    bytes.push_back(static_cast<std::uint8_t>(held_));
    if (held_ == 0xFF) {
      bytes.push_back(0);
    }
    held_ = count_ = 0;
  }
  int held_ = 0, count_ = 0;
};

int size_of(int value) {
  int size = 0;
  for (int rest = std::abs(value); rest != 0; rest >>= 1) {
    ++size;
  }
  return size;
}

void encode(Writer& to, const Code& dc, const Code& ac, const Block& block, int previous) {
  const int difference = block[0] - previous;
  to.symbol(dc, size_of(difference));
  to.value(difference, size_of(difference));
  int run = 0;
  for (int k = 1; k < kBlockValues; ++k) {
    const int value = block[kNatural[k]];
    if (value == 0) {
      ++run;
      continue;
    }
    for (; run > 15; run -= 16) {
      to.symbol(ac, 0xF0);
    }
    to.symbol(ac, run << 4 | size_of(value));
    to.value(value, size_of(value));
    run = 0;
  }
  if (run > 0) {
    to.symbol(ac, 0);
  }
}

void check_scan(Random& random) {
  std::vector<std::uint8_t> sizes(12), all(256);
  for (int i = 0; i < 256; ++i) {
    all[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i);
  }
  std::copy_n(all.begin(), sizes.size(), sizes.begin());
  const Code dc(random, sizes), ac(random, all);
  auto tables = std::make_unique<std::array<HuffmanTable, 2>>();
  auto& [dc_table, ac_table] = *tables;
  CHECK(dc_table.make({dc.bits.data(), dc.symbols.data()}, true), "a table of differences");
  CHECK(ac_table.make({ac.bits.data(), ac.symbols.data()}, false), "a table of coefficients");
  const int units = static_cast<int>(pick(random, 1, 9));
  const int interval = static_cast<int>(pick(random, 0, 3));
  std::vector<std::array<std::int16_t, kBlockValues>> blocks(static_cast<std::size_t>(2 * units));
  Writer writer;
  int previous[2] = {0, 0};
  for (int unit = 0; unit < units; ++unit) {
    if (interval != 0 && unit != 0 && unit % interval == 0) {
      writer.align();
      writer.bytes.insert(writer.bytes.end(), {0xFF, static_cast<std::uint8_t>(0xD0 + (unit / interval - 1) % 8)});
      previous[0] = previous[1] = 0;
    }
    for (int of = 0; of < 2; ++of) {
      auto& block = blocks[static_cast<std::size_t>(2 * unit + of)];
      const std::int64_t zeros = pick(random, 0, 30);
      for (std::int16_t& value : block) {
        const auto limit = (1 << pick(random, 0, 10)) - 1;
        value = static_cast<std::int16_t>(pick(random, 0, zeros) ? 0 : pick(random, -limit, limit));
      }
      encode(writer, dc, ac, *reinterpret_cast<const Block*>(block.data()), previous[of]);
      previous[of] = block[0];
    }
  }
  writer.align();
  const std::vector<std::uint8_t> scan_only = writer.bytes;
  writer.bytes.insert(writer.bytes.end(), {0xFF, 0xD9});

  const auto scan_of = [&](const std::vector<std::uint8_t>& bytes) {
    EntropyScan scan{};
    scan.next = bytes.data();
    scan.end = bytes.data() + bytes.size();
    scan.blocks = 2;
    scan.component[1] = 1;
    scan.dc[0] = scan.dc[1] = &dc_table;
    scan.ac[0] = scan.ac[1] = &ac_table;
    scan.restart_interval = scan.until_restart = static_cast<std::uint32_t>(interval);
    return scan;
  };
  const auto decoded = [&](const std::vector<std::uint8_t>& bytes, bool skip_every_second) {
    EntropyScan scan = scan_of(bytes);
    bool good = true;
    for (int unit = 0; unit < units && good; ++unit) {
      Block to[2] = {};
      Block* const places[2] = {&to[0], &to[1]};
      const bool skip = skip_every_second && unit % 2 == 1;
      good = scan.unit(skip ? nullptr : places);
      for (int of = 0; of < 2 && good && !skip; ++of) {
        good =
            std::equal(std::begin(to[of]), std::end(to[of]), blocks[static_cast<std::size_t>(2 * unit + of)].begin());
      }
    }
    return good;
  };
  CHECK(decoded(writer.bytes, false), "a scan");
  CHECK(decoded(writer.bytes, true), "a scan of which units are skipped");
  CHECK(decoded(scan_only, false), "a scan without a mark behind it");
  // Bytes end in the middle of a unit: with at most seven bits of padding, a missing byte is always missed.
  std::vector<std::uint8_t> cut = scan_only;
  do {
    cut.pop_back();
  } while (!cut.empty() && pick(random, 0, 2) != 0);
  CHECK(!decoded(cut, false), "a scan that is cut off");
  if (interval != 0 && units > interval) {
    std::vector<std::uint8_t> more = writer.bytes;
    const std::uint8_t first[] = {0xFF, 0xD0};
    const auto mark = std::search(more.begin(), more.end(), std::begin(first), std::end(first));
    more.insert(mark, 0x55);
    CHECK(!decoded(more, false), "a byte too many before a restart mark");
  }
}

void check_bad_tables() {
  auto table = std::make_unique<HuffmanTable>();
  std::array<std::uint8_t, 17> bits{};
  std::array<std::uint8_t, 256> symbols{};
  bits[1] = 2;
  CHECK(!table->make({bits.data(), symbols.data()}, false), "a code of all ones");
  bits[1] = 3;
  CHECK(!table->make({bits.data(), symbols.data()}, false), "more codes than there are");
  bits.fill(255);
  CHECK(!table->make({bits.data(), symbols.data()}, false), "more than 256 symbols");
  bits.fill(0);
  bits[2] = 1;
  symbols[0] = 16;
  CHECK(!table->make({bits.data(), symbols.data()}, true), "a difference of 16 bits");
  CHECK(table->make({bits.data(), symbols.data()}, false), "a run");
  CHECK(table->longer(0xFFFF) == 0, "no such code");
}

}  // namespace

void test_entropy() {
  Random random(11);
  for (int i = 0; i < 300; ++i) {
    check_scan(random);
  }
  check_bad_tables();
}

}  // namespace mezzotint::tests
