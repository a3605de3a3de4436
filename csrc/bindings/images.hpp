// Which functions on images does Python see?
#pragma once

#include <nanobind/nanobind.h>

namespace mezzotint::bindings {

void add_image_functions(nanobind::module_& m);

}  // namespace mezzotint::bindings
