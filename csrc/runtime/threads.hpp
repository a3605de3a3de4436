// How is work spread over threads? Loops over a range, of which each thread has a share, the same in every loop; who is
// done helps the others.
//
// When PyTorch's OpenMP runtime is in the process, its pool does the work, so that the two libraries never fight over
// the cores; otherwise a small pool of our own does. Who helps whom is left to chance: a loop body must compute the
// same whoever runs it.
#pragma once

#include <cstdint>

namespace mezzotint {

using RangeFunction = void (*)(const void* context, std::int64_t begin, std::int64_t end);

// Calls body(context, begin, end) on chunks that cover [0, count), on up to `threads` threads. The first exception of
// a body stops the drawing of further chunks and is thrown again in the calling thread.
void run_ranges(std::int64_t count, int threads, RangeFunction body, const void* context);

// The same with a function object body(begin, end).
template <class Body>
void parallel_ranges(std::int64_t count, int threads, const Body& body) {
  run_ranges(
      count, threads,
      [](const void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<const Body*>(context))(begin, end);
      },
      &body);
}

// The same with a function object body(index).
template <class Body>
void parallel_for(std::int64_t count, int threads, const Body& body) {
  parallel_ranges(count, threads, [&body](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      body(i);
    }
  });
}

// Threads worth waking for `operations` elementary vector operations, at most `threads`.
int useful_threads(std::int64_t operations, int threads);

// "openmp" or "own": the pool that a loop started now would use.
const char* thread_pool();

}  // namespace mezzotint
