// What does Python see? The module mezzotint._native: thin functions that release the GIL for the length of the work.
#include <string>
#include <vector>

#include "bindings/arguments.hpp"
#include "drive/activations.hpp"
#include "drive/conv2d.hpp"
#include "isa/select.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace nb = nanobind;

namespace mezzotint::bindings {
namespace {

using Optional = std::optional<TensorArgument>;

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

void pack_tensor(const TensorArgument& x, const TensorArgument& packed, const HaloArgument& halo, int threads) {
  pack(tensor_of(x), packed_of(packed, halo, "packed"), on(threads));
}

void unpack_tensor(const TensorArgument& packed, const HaloArgument& halo, const TensorArgument& y, int threads) {
  unpack(packed_of(packed, halo, "packed"), tensor_of(y), on(threads));
}

void repack(const TensorArgument& from, const HaloArgument& from_halo, const TensorArgument& to,
            const HaloArgument& to_halo, int threads) {
  copy_packed(packed_of(from, from_halo, "from"), packed_of(to, to_halo, "to"), threads);
}

using EpilogueArgument = std::tuple<Optional, Optional, Optional, HaloArgument, bool>;

Epilogue epilogue_of(const EpilogueArgument& argument) {
  const auto& [scale, shift, residual, halo, relu] = argument;
  Epilogue epilogue;
  epilogue.scale = static_cast<const float*>(contiguous(scale, Dtype::kFloat32, "scale"));
  epilogue.shift = static_cast<const float*>(contiguous(shift, Dtype::kFloat32, "shift"));
  epilogue.relu = relu;
  if (residual) {
    const Packed view = packed_of(*residual, halo, "residual");
    epilogue.residual = cell_at(view, 0, 0, 0, 0);
    epilogue.residual_block = view.block;
    epilogue.residual_row = view.row;
    epilogue.residual_channel = view.channel;
  }
  return epilogue;
}

// batch: images in y; the lanes behind them and the halo of y become zero.
void output_packed(const TensorArgument& x, const HaloArgument& x_halo, const TensorArgument& values,
                   const TensorArgument& indices, int working, const Optional& bias, const EpilogueArgument& epilogue,
                   const TensorArgument& y, const HaloArgument& y_halo, const ConvArgument& conv, std::int64_t batch,
                   int threads) {
  const Packed to = packed_of(y, y_halo, "y");
  const auto* bias_floats = static_cast<const float*>(contiguous(bias, Dtype::kFloat32, "bias"));
  conv2d_output_packed(packed_of(x, x_halo, "x"), weight_of(values, indices, {}, static_cast<Dtype>(working)),
                       bias_floats, epilogue_of(epilogue), to, conv_of(conv), on(threads));
  clear_borders(to, batch, threads);
}

void input_grad_packed(const TensorArgument& gy, const HaloArgument& gy_halo, const TensorArgument& values,
                       const TensorArgument& indices, const TensorArgument& transposed, int working,
                       const TensorArgument& gx, const HaloArgument& gx_halo, const ConvArgument& conv, int threads) {
  const Packed to = packed_of(gx, gx_halo, "gx");
  conv2d_input_grad_packed(packed_of(gy, gy_halo, "gy"),
                           weight_of(values, indices, transposed, static_cast<Dtype>(working)), to, conv_of(conv),
                           on(threads));
  clear_borders(to, to.blocks * kLanes, threads);
}

void weight_grad_packed(const TensorArgument& x, const HaloArgument& x_halo, const TensorArgument& gy,
                        const HaloArgument& gy_halo, const TensorArgument& indices, const TensorArgument& gvalues,
                        const ConvArgument& conv, int threads) {
  conv2d_weight_grad_packed(packed_of(x, x_halo, "x"), packed_of(gy, gy_halo, "gy"),
                            weight_of(gvalues, indices, {}, Dtype::kFloat32), vector_of(gvalues), conv_of(conv),
                            on(threads));
}

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
  nb::register_exception_translator(&b::translate);
  m.def("conv2d_output", &b::output, call_guard<gil_scoped_release>(), nb::arg(), nb::arg(), nb::arg(),
        nb::arg().none(), nb::arg(), nb::arg(), nb::arg());
  m.def("conv2d_input_grad", &b::input_grad, call_guard<gil_scoped_release>());
  m.def("conv2d_weight_grad", &b::weight_grad, call_guard<gil_scoped_release>());
  m.def("pack", &b::pack_tensor, call_guard<gil_scoped_release>());
  m.def("unpack", &b::unpack_tensor, call_guard<gil_scoped_release>());
  m.def("repack", &b::repack, call_guard<gil_scoped_release>());
  m.def("conv2d_output_packed", &b::output_packed, call_guard<gil_scoped_release>());
  m.def("conv2d_input_grad_packed", &b::input_grad_packed, call_guard<gil_scoped_release>());
  m.def("conv2d_weight_grad_packed", &b::weight_grad_packed, call_guard<gil_scoped_release>());
  m.def("input_grad_halo", &b::input_grad_halo);
  m.def("isa", [] { return std::string(mezzotint::active().name); });
  m.def("isas", &b::isas);
  m.def("force_isa", &mezzotint::force_isa);
  m.def("thread_pool", [] { return std::string(mezzotint::thread_pool()); });
  m.def("release_scratch", &mezzotint::release_scratch);
}
