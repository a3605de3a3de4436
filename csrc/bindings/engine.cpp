#include "bindings/engine.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "bindings/arguments.hpp"
#include "engine/program.hpp"
#include "isa/select.hpp"
#include "runtime/handover.hpp"
#include "runtime/turnstile.hpp"

namespace nb = nanobind;

namespace mezzotint::bindings {
namespace {

// (offset, bytes of all images abreast, channels, height, width of one image, pitch, lead, stride, images abreast,
// room), as in ArenaPlanes.
using PlanesArgument = std::array<std::int64_t, 10>;
// (offset, cells, room), as in ArenaRows.
using RowsArgument = std::array<std::int64_t, 3>;
// (from, to, column), as in Shift.
using ShiftArgument = std::array<std::int64_t, 3>;
// (planes, whether they are stored, their phases or nothing), as in ConvStep.
using ResultArgument = std::tuple<PlanesArgument, bool, std::optional<PlanesArgument>>;
// (rows or nothing, output, size), as in RowsOrOutput.
using TargetArgument = std::tuple<std::optional<RowsArgument>, std::int64_t, std::int64_t>;
// (summing, tile, parts), as in Choice.
using ChoiceArgument = std::tuple<std::int32_t, std::int64_t, std::int64_t>;
// (curve, slope, low, high, step), as in Activation.
using ActivationArgument = std::tuple<int, float, float, float, float>;
// (bias [O], activation).
using TailArgument = std::tuple<std::vector<float>, ActivationArgument>;

// The memory of arrays for the length of a call.
class Buffers {
 public:
  Buffers(const nb::list& arrays, std::int64_t batch, bool written) {
    views_.reserve(arrays.size());
    for (const nb::handle array : arrays) {
      Py_buffer view;
      const int wanted = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (written ? PyBUF_WRITABLE : 0);
      if (PyObject_GetBuffer(array.ptr(), &view, wanted) != 0) {
        PyErr_Clear();
        good_ = false;
        return;
      }
      views_.push_back(view);
      const bool fits = std::strcmp(view.format, "f") == 0 && view.ndim > 0 && view.shape[0] == batch && batch > 0;
      if (!fits) {
        good_ = false;
        return;
      }
      numbers_.push_back({static_cast<float*>(view.buf), view.len / static_cast<std::int64_t>(sizeof(float)) / batch});
    }
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (Py_buffer& view : views_) {
      PyBuffer_Release(&view);
    }
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] const std::vector<Numbers>& numbers() const { return numbers_; }

 private:
  bool good_ = true;
  std::vector<Py_buffer> views_;
  std::vector<Numbers> numbers_;
};

// A program and the type of its activations.
class PythonProgram {
 public:
  PythonProgram(int code, std::int64_t arena_bytes, std::int64_t margin, std::int64_t images)
      : dtype_(code == 1 ? Dtype::kBFloat16 : Dtype::kFloat32), program_(arena_bytes, margin, images), visit_(images) {
    if (code != 0 && code != 1) {
      throw InvalidInput("type of a program: received code " + std::to_string(code) +
                         "; allowed: 0 (float32) or 1 (bfloat16)");
    }
    if (arena_bytes < 0 || margin < 0 || margin % kCellBytes != 0 || images < 1) {
      throw InvalidInput(
          "arena of a program: received a size below zero or a margin of no whole cells; allowed: others");
    }
  }

  // Of the steps that are added from now on.
  void set_visit(std::int64_t images) { visit_ = images; }

  void split_input(std::int64_t input, const std::array<std::int64_t, 3>& size,
                   const std::array<std::int64_t, 2>& stride, const PlanesArgument& y, float fill) {
    add(make_split({input, {}, size[0], size[1], size[2]}, stride[0], stride[1], planes(y), fill));
  }

  void split(const PlanesArgument& x, const std::array<std::int64_t, 2>& stride, const PlanesArgument& y, float fill) {
    const ArenaPlanes from = planes(x);
    const Planes& shape = from.shape;
    const ArenaPlanes to = planes(y);
    const bool fits = shape.abreast == to.shape.abreast &&
                      (shape.abreast == 1 || (stride[0] == 1 && stride[1] == 1 && shape.pitch == to.shape.pitch));
    if (!fits) {
      throw InvalidInput(
          "phases of a program: received images abreast; allowed: single ones, or planes of the same pitch");
    }
    add(make_split({-1, from, shape.channels, shape.height, shape.width}, stride[0], stride[1], to, fill));
  }

  void shift(const PlanesArgument& x, std::int64_t channels, const std::vector<ShiftArgument>& shifts) {
    const ArenaPlanes in = planes(x);
    std::vector<Shift> found;
    for (const auto& [from, to, column] : shifts) {
      const std::int64_t last = std::max(from, to) + channels;
      if (from < 0 || to < 0 || channels < 1 || last > in.shape.channels || std::abs(column) > in.shape.lead) {
        throw InvalidInput("shift of planes: received channels or columns beyond them; allowed: those within");
      }
      found.push_back({from, to, column});
    }
    add(make_shift(in, channels, found));
  }

  void conv(const PlanesArgument& x, const ResultArgument& result, const std::optional<PlanesArgument>& residual,
            const TensorArgument& values, const TensorArgument& indices, const ConvArgument& shape,
            const Ints& tap_offsets, const Ints& input_offsets, const TailArgument& tail) {
    const auto& [y, keeps_y, halves] = result;
    const ArenaPlanes beside = residual ? planes(*residual) : ArenaPlanes{};
    const ArenaPlanes to = planes(y), phases = halves ? planes(*halves) : ArenaPlanes{};
    const auto& [bias, after] = tail;
    const Conv conv = conv_of(shape);
    const SparseWeight weight = weight_of(values, indices, {}, Dtype::kFloat32);
    const bool fits = static_cast<std::int64_t>(tap_offsets.size()) == conv.taps() &&
                      static_cast<std::int64_t>(bias.size()) == conv.out && weight.dtype == Dtype::kFloat32 &&
                      (input_offsets.empty() || static_cast<std::int64_t>(input_offsets.size()) == conv.row());
    if (!fits) {
      throw InvalidInput(
          "convolution of a program: received taps, inputs, a bias or values of another size or type; allowed: "
          "one offset a tap, one an input or none, one bias a channel, float32 values");
    }
    const ArenaPlanes from = planes(x);
    if (from.shape.abreast != to.shape.abreast || (residual && beside.shape.abreast != to.shape.abreast)) {
      throw InvalidInput("convolution of a program: received other images abreast; allowed: as many as in its result");
    }
    if (halves && !are_phases(phases.shape, to.shape)) {
      throw InvalidInput("convolution of a program: received phases of another size; allowed: those of its result");
    }
    add(make_conv({from, to, keeps_y, halves ? &phases : nullptr, residual ? &beside : nullptr, weight, conv,
                   tap_offsets, input_offsets, bias, activation(after), active().matrices != nullptr}));
  }

  void max(const PlanesArgument& x, const PlanesArgument& y, bool halved, const Ints& tap_offsets) {
    const ArenaPlanes from = planes(x), to = planes(y);
    if (from.shape.abreast != to.shape.abreast || (halved && to.shape.abreast > 1)) {
      throw InvalidInput(
          "maximum of a program: received images abreast; allowed: as many in x as in y, one at stride 2");
    }
    add(make_max(from, to, halved, tap_offsets));
  }

  void multiply(const PlanesArgument& x, const PlanesArgument& factor, const PlanesArgument& y,
                const ActivationArgument& after) {
    const ArenaPlanes one = planes(x), two = planes(factor), to = planes(y);
    const bool fits = same_pixels(one.shape, to.shape) && two.shape.channels == to.shape.channels &&
                      (same_pixels(two.shape, to.shape) || two.shape.height * two.shape.width * two.shape.abreast == 1);
    if (!fits) {
      throw InvalidInput(
          "product of a program: received planes of other sizes; allowed: those of x, or one pixel a channel");
    }
    add(make_product_of_planes(one, two, to, activation(after)));
  }

  void spread(const PlanesArgument& x, const PlanesArgument& y, const std::array<std::int64_t, 2>& factors) {
    const ArenaPlanes from = planes(x), to = planes(y);
    const auto [h, w] = factors;
    if (h < 1 || w < 1 || from.shape.abreast * to.shape.abreast > 1 || from.shape.channels != to.shape.channels ||
        from.shape.height * h != to.shape.height || from.shape.width * w != to.shape.width) {
      throw InvalidInput("resizing of a program: received planes of another size; allowed: so many times that of x");
    }
    add(make_spread(from, to, h, w));
  }

  void average(const PlanesArgument& x, const PlanesArgument& y) {
    const ArenaPlanes to = planes(y);
    if (to.shape.height * to.shape.width * to.shape.abreast != 1) {
      throw InvalidInput("average of a program: received several pixels for it; allowed: one pixel an image");
    }
    add(make_average(planes(x), to));
  }

  void flatten(const PlanesArgument& x, const TargetArgument& y) { add(make_flatten(planes(x), target(y))); }

  void rows(std::int64_t input, std::int64_t size, const RowsArgument& y) {
    add(make_rows(dtype_, input, size, rows_of(y)));
  }

  void product(const RowsArgument& x, const TensorArgument& weight, const TailArgument& tail, const TargetArgument& y) {
    const auto& [bias, after] = tail;
    const auto& [address, code, shape, strides] = weight;
    const RowsOrOutput to = target(y);
    const bool fits = code == 0 && shape.size() == 2 && shape[0] == to.size && strides[0] == shape[1] &&
                      strides[1] == 1 && static_cast<std::int64_t>(bias.size()) == to.size &&
                      shape[1] <= x[1] * lanes_of(dtype_);
    if (!fits) {
      throw InvalidInput(
          "product of a program: received a weight or bias of another shape; allowed: contiguous float32 "
          "[outputs, inputs] and [outputs]");
    }
    add(make_product(dtype_, rows_of(x), reinterpret_cast<const float*>(address), shape[1], bias, activation(after),
                     to));
  }

  void run(const std::vector<TensorArgument>& inputs, const std::vector<TensorArgument>& outputs, std::int64_t batch,
           int threads) {
    const std::vector<Numbers> from = numbers(inputs, batch), to = numbers(outputs, batch);
    const nb::gil_scoped_release release;
    program_.run(from, to, batch, threads);
  }

  // As run(), on lists of arrays, without PyTorch; false, and nothing done, where one of them is not contiguous float32
  // of the batch.
  bool run_arrays(const nb::list& inputs, const nb::list& outputs, std::int64_t batch, int threads) {
    const Buffers from(inputs, batch, false), to(outputs, batch, true);
    if (!from.good() || !to.good()) {
      return false;
    }
    const nb::gil_scoped_release release;
    program_.run(from.numbers(), to.numbers(), batch, threads);
    return true;
  }

  // As run(); what each step took, as in StepTime.
  std::vector<std::tuple<double, double>> profile(const std::vector<TensorArgument>& inputs,
                                                  const std::vector<TensorArgument>& outputs, std::int64_t batch,
                                                  int threads) {
    const std::vector<Numbers> from = numbers(inputs, batch), to = numbers(outputs, batch);
    std::vector<StepTime> times(static_cast<std::size_t>(program_.size()));
    const nb::gil_scoped_release release;
    program_.run(from, to, batch, threads, &times);
    std::vector<std::tuple<double, double>> found;
    for (const StepTime& time : times) {
      found.emplace_back(time.seen, time.worked);
    }
    return found;
  }

  [[nodiscard]] std::int64_t size() const { return program_.size(); }
  [[nodiscard]] std::vector<ChoiceArgument> choices(std::int64_t step) {
    std::vector<ChoiceArgument> found;
    for (const Choice choice : program_.step(step).choices(active())) {
      found.emplace_back(static_cast<std::int32_t>(choice.summing), choice.tile, choice.parts);
    }
    return found;
  }
  ChoiceArgument choice(std::int64_t step) {
    const Choice choice = program_.step(step).choice();
    return {static_cast<std::int32_t>(choice.summing), choice.tile, choice.parts};
  }
  void choose(std::int64_t step, const ChoiceArgument& choice) {
    const auto& [summing, tile, parts] = choice;
    if (summing < 0 || summing >= kSummings) {
      throw InvalidInput("kernel of a program: received code " + std::to_string(summing) + "; allowed: 0 to " +
                         std::to_string(kSummings - 1));
    }
    program_.step(step).choose({static_cast<Summing>(summing), tile, parts});
  }
  void settle() { program_.settle(); }

 private:
  [[nodiscard]] ArenaPlanes planes(const PlanesArgument& a) const {
    const std::int64_t abreast = a[8], room = a[9];
    if (abreast < 1 || a[5] % abreast != 0 || a[4] > a[5] / abreast || room < abreast || room % abreast != 0) {
      throw InvalidInput(
          "planes: received images abreast that do not fit the pitch; allowed: whole ones, room for them");
    }
    const std::int64_t width = (abreast - 1) * (a[5] / abreast) + a[4];  // of all of them
    ArenaPlanes found{a[0], {nullptr, dtype_, a[1], a[2], a[3], width, a[5], a[6], a[7], abreast}, room};
    const Planes& shape = found.shape;
    const std::int64_t lanes = lanes_of(dtype_);
    const bool good = a[0] >= 0 && a[0] % kCellBytes == 0 && shape.image % kCellBytes == 0 && shape.lead % lanes == 0 &&
                      shape.stride % lanes == 0 && shape.pitch >= shape.width &&
                      shape.stride >= shape.lead + plane_cells(shape) * lanes && shape.image >= image_bytes(shape);
    if (!good) {
      throw InvalidInput(
          "planes: received a geometry that does not hold together; allowed: whole cells, a pitch of at "
          "least the width, a stride of at least a plane");
    }
    return found;
  }

  static bool are_phases(const Planes& phases, const Planes& of) {
    const std::int64_t stored = of.channels ? phases.channels / of.channels : 0;
    const bool half = phases.height == (of.height + 1) / 2 && image_width(phases) == (image_width(of) + 1) / 2;
    const bool beside = of.abreast == 1 || 2 * image_step(phases) == image_step(of);
    return stored >= 1 && stored <= 4 && phases.channels == stored * of.channels && half && beside &&
           phases.abreast % of.abreast == 0;
  }

  static bool same_pixels(const Planes& a, const Planes& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width && a.pitch == b.pitch &&
           a.abreast == b.abreast;
  }

  void add(std::unique_ptr<Step> step) { program_.add(std::move(step), visit_); }

  static ArenaRows rows_of(const RowsArgument& a) {
    if (a[2] < 1) {
      throw InvalidInput("rows: received room for no image; allowed: at least one");
    }
    return {a[0], a[1], a[2]};
  }

  static Activation activation(const ActivationArgument& argument) {
    const auto& [curve, slope, low, high, step] = argument;
    if (curve < 0 || curve >= kCurves) {
      throw InvalidInput("activation of a program: received code " + std::to_string(curve) + "; allowed: 0 to " +
                         std::to_string(kCurves - 1));
    }
    return {static_cast<Curve>(curve), slope, low, high, step};
  }

  static RowsOrOutput target(const TargetArgument& argument) {
    const auto& [rows, output, size] = argument;
    return {rows ? rows_of(*rows) : ArenaRows{}, output, size};
  }

  static std::vector<Numbers> numbers(const std::vector<TensorArgument>& arguments, std::int64_t batch) {
    std::vector<Numbers> found;
    for (const auto& [address, code, shape, strides] : arguments) {
      std::int64_t size = 1;
      for (std::size_t axis = shape.size(); axis-- > 1;) {
        if (shape[axis] != 1 && strides[axis] != size) {
          throw InvalidInput("numbers of a run: received an array with gaps; allowed: contiguous float32");
        }
        size *= shape[axis];
      }
      if (code != 0 || shape.empty() || shape[0] != batch || (batch > 1 && strides[0] != size)) {
        throw InvalidInput("numbers of a run: received another type, layout or batch; allowed: contiguous float32");
      }
      found.push_back({reinterpret_cast<float*>(address), size});
    }
    return found;
  }

  Dtype dtype_;
  Program program_;
  std::int64_t visit_;
};

}  // namespace

void add_engine(nb::module_& m) {
  m.def("handover_nanoseconds", &handover_nanoseconds, nb::call_guard<nb::gil_scoped_release>());
  m.def("set_cores", [](int cores) { Turnstile::instance().set_cores(cores); });
  nb::class_<PythonProgram>(m, "Program")
      .def(nb::init<int, std::int64_t, std::int64_t, std::int64_t>())
      .def("split_input", &PythonProgram::split_input)
      .def("set_visit", &PythonProgram::set_visit)
      .def("split", &PythonProgram::split)
      .def("shift", &PythonProgram::shift)
      .def("conv", &PythonProgram::conv, nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg(),
           nb::arg(), nb::arg(), nb::arg())
      .def("max", &PythonProgram::max)
      .def("multiply", &PythonProgram::multiply)
      .def("spread", &PythonProgram::spread)
      .def("average", &PythonProgram::average)
      .def("flatten", &PythonProgram::flatten)
      .def("rows", &PythonProgram::rows)
      .def("product", &PythonProgram::product)
      .def("run", &PythonProgram::run)
      .def("run_arrays", &PythonProgram::run_arrays)
      .def("profile", &PythonProgram::profile)
      .def("size", &PythonProgram::size)
      .def("choices", &PythonProgram::choices)
      .def("choice", &PythonProgram::choice)
      .def("choose", &PythonProgram::choose)
      .def("settle", &PythonProgram::settle);
}

}  // namespace mezzotint::bindings
