// How does Python compile and run a network?
#pragma once

#include <nanobind/nanobind.h>

namespace mezzotint::bindings {

void add_engine(nanobind::module_& m);

}  // namespace mezzotint::bindings
