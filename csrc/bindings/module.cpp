// What does Python see? The module mezzotint._native: thin functions that release the GIL for the length of the work.
#include <memory>
#include <string>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/engine.hpp"
#include "bindings/images.hpp"
#include "bindings/notes.hpp"
#include "drive/activations.hpp"
#include "drive/batch_norm.hpp"
#include "drive/conv2d.hpp"
#include "drive/pointwise.hpp"
#include "drive/pool.hpp"
#include "drive/scatter.hpp"
#include "isa/select.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace nb = nanobind;

namespace mezzotint::bindings {
namespace {

Context on(int threads) {
  return {active(), threads};
}

void output(const TensorArgument& x, const TensorArgument& values, const TensorArgument& indices, const Optional& bias,
            const TensorArgument& y, const ConvArgument& conv, int threads) {
  const Tensor input = tensor_of(x);
  conv2d_output(input, weight_of(values, indices, {}, input.dtype), vector_of(bias), tensor_of(y), conv_of(conv),
                on(threads));
}

void input_grad(const TensorArgument& gy, const TensorArgument& values, const TensorArgument& indices,
                const TensorArgument& transposed, const TensorArgument& gx, const ConvArgument& conv, int threads) {
  const Tensor grad = tensor_of(gy);
  conv2d_input_grad(grad, weight_of(values, indices, transposed, grad.dtype), tensor_of(gx), conv_of(conv),
                    on(threads));
}

void weight_grad(const TensorArgument& x, const TensorArgument& gy, const TensorArgument& indices,
                 const TensorArgument& gvalues, const ConvArgument& conv, int threads) {
  conv2d_weight_grad(tensor_of(x), tensor_of(gy), weight_of(gvalues, indices, {}, Dtype::kFloat32), vector_of(gvalues),
                     conv_of(conv), on(threads));
}

void scatter_values(const TensorArgument& values, const TensorArgument& indices, const TensorArgument& dense,
                    int rounded_to, int threads) {
  const Vector to = vector_of(dense);
  if (to.stride != 1 || to.dtype == Dtype::kInt32) {
    throw InvalidInput("scatter: received a dense weight of another type or layout; allowed: contiguous floating");
  }
  scatter(weight_of(values, indices, {}, dtype_of(rounded_to)), to.data, to.dtype, to.size, threads);
}

void pack_tensor(const TensorArgument& x, const PackedArgument& packed, int threads) {
  const Tensor from = tensor_of(x);
  const Packed to = packed_of(packed, "packed");
  if (from.dtype != to.dtype) {
    throw InvalidInput("pack: received a tensor of another type than the packed one; allowed: the same type");
  }
  do_or_note([=, with = on(threads)] { pack(from, to, with); });
}

void unpack_tensor(const PackedArgument& packed, const TensorArgument& y, int threads) {
  const Packed from = packed_of(packed, "packed");
  const Tensor to = tensor_of(y);
  if (to.dtype != from.dtype) {
    throw InvalidInput("unpack: received a tensor of another type than the packed one; allowed: the same type");
  }
  do_or_note([=, with = on(threads)] { unpack(from, to, with); });
}

void repack(const PackedArgument& source, const PackedArgument& target, int threads) {
  const Packed from = packed_of(source, "source"), to = packed_of(target, "target");
  do_or_note([=] { copy_packed(from, to, threads); });
}

// batch: images in the result; the lanes behind them and its halo become zero.
void output_packed(const PackedArgument& x, const TensorArgument& values, const TensorArgument& indices,
                   const Optional& bias, const EpilogueArgument& epilogue, const PackedArgument& y,
                   const ConvArgument& conv, std::int64_t batch, const Optional& totals, int threads) {
  const Packed from = packed_of(x, "x"), to = packed_of(y, "y");
  do_or_note([=, weight = weight_of(values, indices, {}, from.dtype), shift = floats_of(bias, "bias"),
              rest = epilogue_of(epilogue), of = conv_of(conv), sums = totals_of(totals, to.channels),
              with = on(threads)] {
    conv2d_output_packed(from, weight, shift, rest, to, of, sums, with);
    clear_borders(to, batch, threads);
  });
}

void input_grad_packed(const PackedArgument& gy, const TensorArgument& values, const TensorArgument& indices,
                       const TensorArgument& transposed, const EpilogueArgument& epilogue, const PackedArgument& gx,
                       const ConvArgument& conv, std::int64_t batch, const Optional& totals, int threads) {
  const Packed from = packed_of(gy, "gy"), to = packed_of(gx, "gx");
  do_or_note([=, weight = weight_of(values, indices, transposed, from.dtype), rest = epilogue_of(epilogue),
              of = conv_of(conv), sums = totals_of(totals, to.channels), with = on(threads)] {
    conv2d_input_grad_packed(from, weight, rest, to, of, sums, with);
    clear_borders(to, batch, threads);
  });
}

void weight_grad_packed(const PackedArgument& x, const PackedArgument& gy, const TensorArgument& indices,
                        const TensorArgument& gvalues, const ConvArgument& conv, int threads) {
  do_or_note([from = packed_of(x, "x"), grad = packed_of(gy, "gy"),
              weight = weight_of(gvalues, indices, {}, Dtype::kFloat32), to = vector_of(gvalues), of = conv_of(conv),
              with = on(threads)] { conv2d_weight_grad_packed(from, grad, weight, to, of, with); });
}

void dense_grad_packed(const PackedArgument& x, const PackedArgument& gy, const TensorArgument& gradient,
                       const ConvArgument& conv, bool paired, int threads) {
  const Conv of = conv_of(conv);
  do_or_note([=, from = packed_of(x, "x"), grad = packed_of(gy, "gy"), to = dense_weight_of(gradient, of, "gradient"),
              with = on(threads)] { conv2d_dense_grad_packed(from, grad, to, of, paired, with); });
}

// Of the convolution's output gradient g * scale + shift + y * companion, which is nowhere written down.
void backward_packed(const PackedArgument& g, const Optional& scale, const Optional& shift, const PackedArgument& y,
                     const Optional& companion, const PackedArgument& x, const TensorArgument& values,
                     const TensorArgument& indices, const TensorArgument& transposed, const EpilogueArgument& epilogue,
                     const PackedArgument& gx, const TensorArgument& gvalues, const ConvArgument& conv,
                     std::int64_t batch, const Optional& totals, int threads) {
  const Packed from = packed_of(x, "x"), to = packed_of(gx, "gx");
  NormaliseJob gy{};
  gy.x = packed_of(g, "g");
  gy.scale = floats_of(scale, "scale");
  gy.shift = floats_of(shift, "shift");
  gy.other = packed_of(y, "y");
  gy.other_scale = floats_of(companion, "companion");
  gy.batch = batch;
  do_or_note([=, weight = weight_of(values, indices, transposed, from.dtype), rest = epilogue_of(epilogue),
              grads = vector_of(gvalues), of = conv_of(conv), sums = totals_of(totals, to.channels),
              with = on(threads)] {
    conv2d_backward_packed(gy, from, weight, rest, to, grads, of, sums, with);
    clear_borders(to, batch, threads);
  });
}

void normalise(const PackedArgument& x, const Optional& scale, const Optional& shift, const OptionalPacked& other,
               const Optional& other_scale, const Optional& other_shift, const OptionalPacked& addend, bool relu,
               const PackedArgument& z, std::int64_t batch, int threads) {
  NormaliseJob job{};
  job.x = packed_of(x, "x");
  job.scale = floats_of(scale, "scale");
  job.shift = floats_of(shift, "shift");
  job.other = packed_of(other, "other");
  job.other_scale = floats_of(other_scale, "other_scale");
  job.other_shift = floats_of(other_shift, "other_shift");
  job.addend = packed_of(addend, "addend");
  job.relu = relu;
  job.z = packed_of(z, "z");
  job.batch = batch;
  do_or_note([=, with = on(threads)] { normalise_packed(job, with); });
}

void reduce(const PackedArgument& x, const OptionalPacked& mask, const Optional& mask_scale, const Optional& mask_shift,
            const OptionalPacked& companion, const OptionalPacked& masked, const Optional& totals, int threads) {
  ReduceJob job{};
  job.x = packed_of(x, "x");
  job.mask = packed_of(mask, "mask");
  job.mask_scale = floats_of(mask_scale, "mask_scale");
  job.mask_shift = floats_of(mask_shift, "mask_shift");
  job.companion = packed_of(companion, "companion");
  job.masked = packed_of(masked, "masked");
  do_or_note([=, sums = totals_of(totals, job.x.channels), with = on(threads)] { reduce_packed(job, sums, with); });
}

// One float32 a channel; absent: null.
float* a_channel(const Optional& argument, std::int64_t channels, const char* name) {
  if (argument && std::get<2>(*argument) != Ints{channels}) {
    throw InvalidInput(std::string(name) + ": its size is not the number of channels, " + std::to_string(channels));
  }
  return const_cast<float*>(floats_of(argument, name));
}

// (weight, bias, left_out, running_mean, running_var).
using NormArgument = std::tuple<Optional, Optional, Optional, Optional, Optional>;

void norm_coefficients(const Optional& totals, double count, const NormArgument& norm, double eps, double share,
                       const TensorArgument& scale, const TensorArgument& shift, const TensorArgument& state) {
  const auto& [weight, bias, left_out, running_mean, running_var] = norm;
  const std::int64_t channels = std::get<2>(scale)[0];
  if (!totals && !(running_mean && running_var)) {
    throw InvalidInput("totals: received none; allowed: none only beside running statistics");
  }
  double* const mean = doubles_of(state, {2, channels}, "state");
  const BatchNorm of{channels,
                     eps,
                     a_channel(weight, channels, "weight"),
                     a_channel(bias, channels, "bias"),
                     a_channel(running_mean, channels, "running_mean"),
                     a_channel(running_var, channels, "running_var"),
                     share,
                     a_channel(left_out, channels, "left_out")};
  do_or_note([=, sums = totals ? doubles_of(*totals, {channels, 2}, "totals") : nullptr,
              factor = a_channel(scale, channels, "scale"), constant = a_channel(shift, channels, "shift")] {
    batch_norm_coefficients(of, sums, count, factor, constant, mean, mean + channels);
  });
}

void norm_gradient(const TensorArgument& totals, double count, const TensorArgument& scale, const TensorArgument& state,
                   const TensorArgument& weight, const TensorArgument& bias, const TensorArgument& companion,
                   const TensorArgument& constant) {
  const std::int64_t channels = std::get<2>(totals)[0];
  const double* const mean = doubles_of(state, {2, channels}, "state");
  do_or_note([=, sums = doubles_of(totals, {channels, 2}, "totals"), factor = a_channel(scale, channels, "scale"),
              to_weight = a_channel(weight, channels, "weight"), to_bias = a_channel(bias, channels, "bias"),
              to_companion = a_channel(companion, channels, "companion"),
              to_constant = a_channel(constant, channels, "constant")] {
    batch_norm_gradient(channels, sums, count, factor, mean, mean + channels, to_weight, to_bias, to_companion,
                        to_constant);
  });
}

// (kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w).
using WindowArgument = std::array<std::int64_t, 8>;

PoolWindow window_of(const WindowArgument& a) {
  return {a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]};
}

void max_pool(const PackedArgument& x, const PackedArgument& y, const WindowArgument& window, std::int64_t batch,
              int threads) {
  do_or_note([=, from = packed_of(x, "x"), to = packed_of(y, "y"), of = window_of(window), with = on(threads)] {
    max_pool_packed(from, to, of, batch, with);
  });
}

void max_pool_grad(const PackedArgument& x, const PackedArgument& y, const PackedArgument& gy, const PackedArgument& gx,
                   const WindowArgument& window, int threads) {
  do_or_note([from = packed_of(x, "x"), maxima = packed_of(y, "y"), grad = packed_of(gy, "gy"),
              to = packed_of(gx, "gx"), of = window_of(window),
              with = on(threads)] { max_pool_grad_packed(from, maxima, grad, to, of, with); });
}

void global_average(const PackedArgument& x, const PackedArgument& y, int threads) {
  do_or_note([from = packed_of(x, "x"), to = packed_of(y, "y"), with = on(threads)] {
    global_average_packed(from, to, with);
  });
}

void global_average_grad(const PackedArgument& gy, const PackedArgument& gx, int threads) {
  do_or_note([from = packed_of(gy, "gy"), to = packed_of(gx, "gx"), with = on(threads)] {
    global_average_grad_packed(from, to, with);
  });
}

// Calls to be done again.
struct Kept {
  std::shared_ptr<Calls> calls;
};

HaloArgument input_grad_halo(const ConvArgument& conv, const std::array<std::int64_t, 2>& gx,
                             const std::array<std::int64_t, 2>& gy) {
  const Halo halo = grad_halo(conv_of(conv), {gx[0], gx[1]}, {gy[0], gy[1]});
  return {halo.top, halo.bottom, halo.left, halo.right};
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const Kernels* kernels : runnable()) {
    names.emplace_back(kernels->name);
  }
  return names;
}

// InvalidInput becomes the package's own error, which is a ValueError too.
void translate(const std::exception_ptr& pointer, void* /*unused*/) {
  try {
    std::rethrow_exception(pointer);
  } catch (const InvalidInput& error) {
    PyErr_SetString(nb::module_::import_("mezzotint.errors").attr("InputError").ptr(), error.what());
  }
}

}  // namespace
}  // namespace mezzotint::bindings

NB_MODULE(_native, m) {
  namespace b = mezzotint::bindings;
  using nb::call_guard;
  using nb::gil_scoped_release;
  // When the interpreter ends PyTorch does not free what its graphs hold, on purpose: no leak of ours.
  nb::set_leak_warnings(false);
  nb::register_exception_translator(&b::translate);
  m.def("conv2d_output", &b::output, call_guard<gil_scoped_release>(), nb::arg(), nb::arg(), nb::arg(),
        nb::arg().none(), nb::arg(), nb::arg(), nb::arg());
  m.def("conv2d_input_grad", &b::input_grad, call_guard<gil_scoped_release>());
  m.def("conv2d_weight_grad", &b::weight_grad, call_guard<gil_scoped_release>());
  m.def("scatter", &b::scatter_values, call_guard<gil_scoped_release>());
  m.def("pack", &b::pack_tensor, call_guard<gil_scoped_release>());
  m.def("unpack", &b::unpack_tensor, call_guard<gil_scoped_release>());
  m.def("repack", &b::repack, call_guard<gil_scoped_release>());
  m.def("conv2d_output_packed", &b::output_packed, call_guard<gil_scoped_release>());
  m.def("conv2d_input_grad_packed", &b::input_grad_packed, call_guard<gil_scoped_release>());
  m.def("conv2d_weight_grad_packed", &b::weight_grad_packed, call_guard<gil_scoped_release>());
  m.def("conv2d_dense_grad_packed", &b::dense_grad_packed, call_guard<gil_scoped_release>());
  m.def("conv2d_backward_packed", &b::backward_packed, call_guard<gil_scoped_release>());
  m.def("normalise_packed", &b::normalise, call_guard<gil_scoped_release>());
  m.def("reduce_packed", &b::reduce, call_guard<gil_scoped_release>());
  m.def("norm_coefficients", &b::norm_coefficients);
  m.def("norm_gradient", &b::norm_gradient);
  m.def("max_pool_packed", &b::max_pool, call_guard<gil_scoped_release>());
  m.def("max_pool_grad_packed", &b::max_pool_grad, call_guard<gil_scoped_release>());
  m.def("global_average_packed", &b::global_average, call_guard<gil_scoped_release>());
  m.def("global_average_grad_packed", &b::global_average_grad, call_guard<gil_scoped_release>());
  m.def("input_grad_halo", &b::input_grad_halo);
  m.def("note_calls", &b::note_calls);
  m.def("run_noted", &b::run_noted, call_guard<gil_scoped_release>());
  m.def("forget_noted", &b::forget_noted);
  nb::class_<b::Kept>(m, "Kept")
      .def_prop_ro("is_empty", [](const b::Kept& kept) { return kept.calls->empty(); })
      .def("do_again", [](const b::Kept& kept) { b::do_or_note_again(kept.calls); }, call_guard<gil_scoped_release>());
  m.def("keep_noted", &b::keep_noted);
  m.def("cut", [] { return b::Kept{b::cut()}; });
  m.def("keep_no_more", &b::keep_no_more);
  m.def("isa", [] { return std::string(mezzotint::active().name); });
  m.def("isas", &b::isas);
  m.def("force_isa", &mezzotint::force_isa);
  m.def("thread_pool", [] { return std::string(mezzotint::thread_pool()); });
  m.def("release_scratch", &mezzotint::release_scratch);
  b::add_image_functions(m);
  b::add_engine(m);
}
