// How is the weight gradient at the nonzeros computed? Pack a few blocks of images of x and gy, or of their pixels, add
// the sampled dot products, and convert the sums at the end.
#include <algorithm>
#include <vector>

#include "drive/activations.hpp"
#include "drive/columns.hpp"
#include "drive/conv2d.hpp"
#include "drive/matrix_grad.hpp"
#include "drive/pixels.hpp"
#include "drive/run.hpp"
#include "drive/sums.hpp"
#include "plan/expand.hpp"
#include "plan/rows.hpp"
#include "plan/tiles.hpp"

namespace mezzotint {
namespace {

// Lanes for each image from which on it pays to copy what windows read tap by tap.
constexpr std::int64_t kEmptyLanes = 2;
// How often an input that a stride leaves others beside must be read for a copy to pay.
constexpr std::int64_t kReadsThatPay = 80;

void sample(const SampleList& list, const Packed& x, const Packed& gy, const Band& band, const Conv& conv,
            std::int64_t nnz, const SumsOf& sums, const Context& with) {
  WeightGradJob job{};
  job.dtype = x.dtype;
  job.x = cell_at(x, 0, -conv.top, 0, -conv.left);
  job.x_block = x.block;
  job.x_row = x.row * conv.stride_h;
  job.x_column = conv.stride_w;
  job.gy = cell_at(gy, 0, 0, 0, 0);
  job.gy_block = gy.block;
  job.gy_row = gy.row;
  job.gy_channel = gy.channel;
  job.blocks = gy.blocks;
  job.rows = gy.height;
  job.columns = gy.width;
  job.channels = conv.out;
  job.band_rows = band.rows;
  job.band_columns = band.columns;
  job.offsets = list.offsets.get();
  job.segments = list.segments.data();
  job.parts = list.parts;
  job.part_channels = band.part_channels;
  job.x_channel = x.channel;
  if (conv.groups == 1 && (exceeds_caches(x) || exceeds_caches(gy))) {
    const bool one_row = conv.kernel_h == 1;
    job.fetch_span = (conv.kernel_h - 1) * conv.dilation_h + 1;
    job.fetch_step = one_row ? 1 : conv.stride_h;
    job.fetch_row = one_row ? job.x_row : x.row;
    job.fetch_width = (conv.kernel_w - 1) * conv.dilation_w + 1;
  }
  run_weight_grad(job, nnz, sums.chunks(), sums.get(), with);
}

// Adds up the gradients of the values over pieces of packed activations: at the nonzeros alone, or those of the whole
// weight on a matrix unit, of which the nonzeros' are taken.
class Gradient {
 public:
  // x, gy: a piece, none is larger.
  Gradient(const Packed& x, const Packed& gy, const SparseWeight& weight, const Vector& gvalues, const Conv& conv,
           const Context& with)
      : weight_(weight),
        conv_(conv),
        with_(with),
        whole_(MatrixGrad::pays(conv, weight.nnz, x.dtype, with)),
        band_(choose_band(conv, gy.height, gy.width, weight.nnz)),
        sums_(gvalues, whole_ ? MatrixGrad::chunks_for(gy, conv, most_chunks(gy)) : 1, with.threads) {
    if (whole_) {
      starts_ = starts_of_rows(weight, conv);
    } else {
      list_ = expand_weight_grad(weight, conv, x, band_.part_channels, with.threads);
    }
  }

  void add(const Packed& x, const Packed& gy) const {
    if (!whole_) {
      return sample(list_, x, gy, band_, conv_, weight_.nnz, sums_, with_);
    }
    const MatrixGrad grad(x, gy, conv_, sums_.chunks());
    grad.run(with_, [&](std::int64_t chunk, std::int64_t first, std::int64_t last, const MatrixGrad::Sums& found) {
      found.add(weight_, conv_, starts_, first, last, sums_.chunk(chunk));
    });
  }

  void finish() const { sums_.finish(with_.threads); }

 private:
  [[nodiscard]] std::int64_t most_chunks(const Packed& gy) const {
    return chunks_of(gy.blocks * gy.height * gy.width, weight_.nnz);
  }

  const SparseWeight& weight_;
  const Conv& conv_;
  const Context& with_;
  bool whole_;
  Band band_;
  SumsOf sums_;
  SampleList list_;
  std::vector<std::int32_t> starts_;
};

void add_lanes(const Tensor& x, const Tensor& gy, const SparseWeight& weight, const Vector& gvalues, const Conv& conv,
               const Context& with) {
  const Lanes lanes(conv, x, gy);
  const Halo padding{conv.top, conv.bottom, conv.left, conv.right};
  const std::int64_t blocks = lanes.blocks(gy), step = lanes.step(x, padding, gy, {});
  const Activations packed_x = lanes.activations(x, step, padding), packed_gy = lanes.activations(gy, step, {});
  const Gradient gradient(packed_x.view, packed_gy.view, weight, gvalues, conv, with);
  for (std::int64_t first = 0; first < blocks; first += step) {
    const std::int64_t count = std::min(step, blocks - first);
    lanes.pack(x, first, count, packed_x, with);
    lanes.pack(gy, first, count, packed_gy, with);
    gradient.add(packed_x.for_kernels(count), packed_gy.for_kernels(count));
  }
  gradient.finish();
}

// Pixels fill the lanes, however few images there are; what a window reads is copied tap by tap.
void add_columns(const Tensor& x, const Tensor& gy, const SparseWeight& weight, const Vector& gvalues, const Conv& conv,
                 const Context& with) {
  const Conv linear = on_columns(conv);
  const Columns columns(x, conv, {gy.h, gy.w}, with);
  const std::int64_t blocks = blocks_of(gy.n * gy.h * gy.w, gy.dtype);
  const std::int64_t step = pixel_blocks_at_a_time(blocks, (linear.in() + gy.c) * kCellBytes);
  const Activations packed_x(x.dtype, true, step, linear.in(), 1, 1, {});
  const Activations packed_gy(gy.dtype, true, step, gy.c, 1, 1, {});
  const Gradient gradient(packed_x.view, packed_gy.view, weight, gvalues, linear, with);
  for (std::int64_t first = 0; first < blocks; first += step) {
    const std::int64_t count = std::min(step, blocks - first);
    columns.pack(first, packed_x.for_copies(count), with);
    pack_pixels(gy, first, packed_gy.for_copies(count), with);
    gradient.add(packed_x.for_kernels(count), packed_gy.for_kernels(count));
  }
  gradient.finish();
}

// Whether to: pixels that are all read need no copies, and many images fill the lanes themselves.
bool by_columns(const Tensor& x, const Tensor& gy, const Conv& conv) {
  const std::int64_t lanes = blocks_of(gy.n, gy.dtype) * lanes_of(gy.dtype);
  const bool pays = conv.taps() == 1 || lanes >= kEmptyLanes * gy.n;
  return !reads_each_pixel(conv) && pays && has_pixels(x) && has_pixels(gy);
}

}  // namespace

void conv2d_weight_grad(const Tensor& x, const Tensor& gy, const SparseWeight& weight, const Vector& gvalues,
                        const Conv& conv, const Context& with) {
  if (weight.nnz == 0) {
    return;
  }
  if (gy.n * gy.c * gy.h * gy.w == 0) {
    return SumsOf(gvalues, 1, with.threads).finish(with.threads);
  }
  const auto add = by_columns(x, gy, conv) ? &add_columns : &add_lanes;
  add(x, gy, weight, gvalues, conv, with);
}

void conv2d_weight_grad_packed(const Packed& x, const Packed& gy, const SparseWeight& weight, const Vector& gvalues,
                               const Conv& conv, const Context& with) {
  if (weight.nnz == 0) {
    return;
  }
  if (gy.blocks * gy.height * gy.width > 0 && MatrixGrad::pays(conv, weight.nnz, x.dtype, with)) {
    const Gradient gradient(x, gy, weight, gvalues, conv, with);
    gradient.add(x, gy);
    return gradient.finish();
  }
  if (leaves_out(conv) && weight.nnz >= kReadsThatPay * conv.in()) {
    const Activations read = read_by(conv, x, gy.height, gy.width, with.threads);
    return conv2d_weight_grad_packed(read.view, gy, weight, gvalues, without_stride(conv), with);
  }
  const Band band = choose_band(conv, gy.height, gy.width, weight.nnz);
  const SumsOf sums(gvalues, choose_chunks(x, gy, band, weight.nnz), with.threads);
  const SampleList list = expand_weight_grad(weight, conv, x, band.part_channels, with.threads);
  sample(list, x, gy, band, conv, weight.nnz, sums, with);
  sums.finish(with.threads);
}

}  // namespace mezzotint
