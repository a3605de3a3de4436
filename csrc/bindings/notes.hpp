// When is a call's work done? At once; or, while its thread notes calls, later: all that was noted, in order, with no
// Python in between. What was noted can be kept, and noted again without the calls.
#pragma once

#include <functional>
#include <memory>
#include <vector>

namespace mezzotint::bindings {

using Calls = std::vector<std::function<void()>>;

// From now on this thread notes the work of its calls. What they point to must last until it is done.
void note_calls();

// Does what this thread has noted, and goes on noting. The first exception leaves the rest undone.
void run_noted();

// Notes no more; what was noted and not run is forgotten.
void forget_noted();

// From now on what is noted is also kept: the next cut() gets it.
void keep_noted();

// What was noted since keep_noted() or the last cut(); it stays noted.
std::shared_ptr<Calls> cut();

// Keeps no more.
void keep_no_more();

void do_or_note(std::function<void()> work);

// Does all of `calls`, or notes it. What they point to must last until it is done.
void do_or_note_again(std::shared_ptr<Calls> calls);

}  // namespace mezzotint::bindings
