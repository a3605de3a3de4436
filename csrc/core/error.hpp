// How does the library refuse an argument? One exception; the bindings turn it into mezzotint.errors.InputError.
#pragma once

#include <stdexcept>

namespace mezzotint {

struct InvalidInput : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

}  // namespace mezzotint
