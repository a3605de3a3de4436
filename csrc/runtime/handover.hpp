// How far apart are two cores? What it takes to hand a number from one thread to another.
#pragma once

namespace mezzotint {

// Nanoseconds one way, the least of several tries of a few milliseconds in all: some 50 where cores share a cache, 200
// where they do not; far more where the threads take turns on one core.
double handover_nanoseconds();

}  // namespace mezzotint
