#include "drive/pool.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "drive/activations.hpp"
#include "plan/tiles.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace mezzotint {
namespace {

// A cell of a pass over memory costs about as much as this many vector operations.
constexpr std::int64_t kCellCost = 4;
// A tap is remembered in a 16-bit lane, where one value stands for none.
constexpr std::int64_t kMostTaps = 65535;

// A pooling in one dimension.
struct Axis {
  std::int64_t positions, windows, kernel, stride, before, dilation;

  // From one end of a window to the other.
  [[nodiscard]] std::int64_t extent() const { return (kernel - 1) * dilation + 1; }
};

Axis rows_of(const Packed& x, const Packed& y, const PoolWindow& w) {
  return {x.height, y.height, w.kernel_h, w.stride_h, w.top, w.dilation_h};
}

Axis columns_of(const Packed& x, const Packed& y, const PoolWindow& w) {
  return {x.width, y.width, w.kernel_w, w.stride_w, w.left, w.dilation_w};
}

class LinkList {
 public:
  [[nodiscard]] Links view() const { return {links_.data(), segments_.data()}; }
  void add(std::int64_t at, std::int64_t tap) {
    links_.push_back({static_cast<std::int32_t>(at), static_cast<std::int32_t>(tap)});
  }
  void close() { segments_.push_back(static_cast<std::int32_t>(links_.size())); }

 private:
  std::vector<Link> links_;
  std::vector<std::int32_t> segments_{0};
};

LinkList positions_of_windows(const Axis& axis) {
  LinkList list;
  for (std::int64_t window = 0; window < axis.windows; ++window) {
    for (std::int64_t tap = axis.kernel - 1; tap >= 0; --tap) {
      const std::int64_t at = window * axis.stride - axis.before + tap * axis.dilation;
      if (at >= 0 && at < axis.positions) {
        list.add(at, tap);
      }
    }
    list.close();
  }
  return list;
}

LinkList windows_of_positions(const Axis& axis) {
  LinkList list;
  for (std::int64_t at = 0; at < axis.positions; ++at) {
    for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
      const std::int64_t start = at + axis.before - tap * axis.dilation;
      if (start >= 0 && start % axis.stride == 0 && start / axis.stride < axis.windows) {
        list.add(start / axis.stride, tap);
      }
    }
    list.close();
  }
  return list;
}

// The smallest power of two that is enough.
std::int64_t ring_of(std::int64_t rows, std::int64_t all) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::min(rows, all))));
}

bool same_size(const Packed& a, const Packed& b) {
  return a.height == b.height && a.width == b.width;
}

void require(bool good, const char* what) {
  if (!good) {
    throw InvalidInput(std::string("pooling: received ") + what);
  }
}

void require_alike(const Packed& a, const Packed& b) {
  require(a.dtype == b.dtype && a.blocks == b.blocks && a.channels == b.channels,
          "activations of different types or numbers of channels or images; allowed: the same of all");
}

void require_window(const PoolWindow& w) {
  require(std::min({w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w}) >= 1,
          "a kernel, stride or dilation below 1; allowed: >= 1");
  require(std::min(w.top, w.left) >= 0, "a padding below 0; allowed: >= 0");
}

int team_for(const Packed& larger, int threads) {
  return useful_threads(cells_of(larger) * kCellCost, threads);
}

}  // namespace

void max_pool_packed(const Packed& x, const Packed& y, const PoolWindow& window, std::int64_t batch,
                     const Context& with) {
  require_alike(x, y);
  require_window(window);
  const LinkList rows = positions_of_windows(rows_of(x, y, window));
  const LinkList columns = positions_of_windows(columns_of(x, y, window));
  const MaxPoolJob job{x, y, rows.view(), columns.view(), batch, exceeds_caches(y)};
  const std::int64_t stored = stored_rows(y);
  parallel_ranges(y.blocks * stored, team_for(x, with.threads), [&](std::int64_t begin, std::int64_t end) {
    const Scratch<Cell> line(x.width);
    for (std::int64_t i = begin; i < end; ++i) {
      with.kernels.max_pool_row(job, i / stored, i % stored, line.get());
    }
  });
}

void max_pool_grad_packed(const Packed& x, const Packed& y, const Packed& gy, const Packed& gx,
                          const PoolWindow& window, const Context& with) {
  require_alike(x, y);
  require_alike(x, gy);
  require_alike(x, gx);
  require(same_size(x, gx) && same_size(y, gy), "a gradient of another size; allowed: that of its activations");
  require_window(window);
  require(window.kernel_h * window.kernel_w <= kMostTaps, "a window of more than 65535 positions; allowed: fewer");
  const Axis vertical = rows_of(x, y, window), horizontal = columns_of(x, y, window);
  const LinkList rows = positions_of_windows(vertical), columns = positions_of_windows(horizontal);
  const LinkList window_rows = windows_of_positions(vertical), window_columns = windows_of_positions(horizontal);
  const std::int64_t held_rows = ring_of(vertical.extent(), x.height);
  const std::int64_t held_windows = ring_of((vertical.extent() - 1) / vertical.stride + 1, y.height);
  MaxPoolGradJob job{};
  job.x = x;
  job.y = y;
  job.gy = gy;
  job.gx = gx;
  job.rows = rows.view();
  job.columns = columns.view();
  job.window_rows = window_rows.view();
  job.window_columns = window_columns.view();
  job.kernel_w = window.kernel_w;
  job.held_rows = held_rows;
  job.held_windows = held_windows;
  job.stream = exceeds_caches(gx);
  parallel_ranges(x.blocks * x.channels, team_for(x, with.threads), [&](std::int64_t begin, std::int64_t end) {
    const Scratch<Cell> rings(held_rows * x.width + held_windows * y.width * 2);
    for (std::int64_t i = begin; i < end; ++i) {
      with.kernels.max_pool_grad_channel(job, i / x.channels, i % x.channels, rings.get());
    }
  });
}

void global_average_packed(const Packed& x, const Packed& y, const Context& with) {
  require_alike(x, y);
  require(y.height == 1 && y.width == 1, "an average of several pixels; allowed: one pixel");
  const AverageJob job{x, y};
  parallel_for(x.blocks * x.channels, team_for(x, with.threads),
               [&](std::int64_t i) { with.kernels.average_channel(job, i / x.channels, i % x.channels); });
  clear_borders(y, y.blocks * lanes_of(y.dtype), with.threads);
}

void global_average_grad_packed(const Packed& gy, const Packed& gx, const Context& with) {
  require_alike(gy, gx);
  require(gy.height == 1 && gy.width == 1, "the gradient of several pixels; allowed: one pixel");
  const AverageJob job{gx, gy};
  const std::int64_t stored = stored_rows(gx);
  parallel_for(gx.blocks * stored, team_for(gx, with.threads),
               [&](std::int64_t i) { with.kernels.average_grad_row(job, i / stored, i % stored); });
}

}  // namespace mezzotint
