// Which instruction-set variant runs? The best that this CPU can, unless one is forced.
#pragma once

#include <string>
#include <vector>

#include "isa/table.hpp"

namespace mezzotint {

// The variants that this CPU can run, best first.
const std::vector<const Kernels*>& runnable();

// The chosen variant: forced by force_isa(), else by the environment variable MEZZOTINT_ISA, else the best.
const Kernels& active();

// Force a variant by name for the whole process; an empty name goes back to the default choice.
// Throws InvalidInput for a variant that is unknown or that this CPU cannot run.
void force_isa(const std::string& name);

}  // namespace mezzotint
