// When is a call's work done? At once; or, while its thread notes calls, later: all that was noted, in order, with no
// Python in between.
#pragma once

#include <functional>

namespace mezzotint::bindings {

// From now on this thread notes the work of its calls. What they point to must last until it is done.
void note_calls();

// Does what this thread has noted, and goes on noting. The first exception leaves the rest undone.
void run_noted();

// Notes no more; what was noted and not run is forgotten.
void forget_noted();

void do_or_note(std::function<void()> work);

}  // namespace mezzotint::bindings
