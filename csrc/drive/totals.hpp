// How do the sums that kernels leave for tiles or rows become totals a channel? Added up in double precision in the
// order of the tiles, whoever computed them, so that neither tiles nor threads show in the result.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {

class Totals {
 public:
  // totals: [channels][2], or null when nobody asks. places: tiles or rows.
  Totals(double* totals, std::int64_t places, std::int64_t channels)
      : totals_(totals), places_(places), pairs_(channels * 2) {
    if (totals_) {
      sums_ = Scratch<float>(places_ * pairs_);
      std::fill_n(sums_.get(), places_ * pairs_, 0.0f);
    }
  }

  // [places][channels][2], or null.
  [[nodiscard]] float* sums() const { return sums_.get(); }

  void finish(int threads) const {
    if (totals_) {
      parallel_ranges(pairs_, useful_threads(places_ * pairs_ / 4, threads),
                      [&](std::int64_t begin, std::int64_t end) { add(begin, end); });
    }
  }

 private:
  void add(std::int64_t begin, std::int64_t end) const {
    std::fill(totals_ + begin, totals_ + end, 0.0);
    for (std::int64_t place = 0; place < places_; ++place) {
      for (std::int64_t pair = begin; pair < end; ++pair) {
        totals_[pair] += static_cast<double>(sums_[place * pairs_ + pair]);
      }
    }
  }

  double* totals_;
  std::int64_t places_, pairs_;
  Scratch<float> sums_;
};

}  // namespace mezzotint
