#include "engine/program.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>

#include "core/error.hpp"
#include "engine/walk.hpp"
#include "isa/select.hpp"
#include "runtime/pool.hpp"

namespace mezzotint {
namespace {

using Clock = std::chrono::steady_clock;

// What bounds the memory that a walk takes.
constexpr std::int64_t kRoundsAtOnce = 32;

double seconds_between(Clock::time_point first, Clock::time_point last) {
  return std::chrono::duration<double>(last - first).count();
}

std::vector<Numbers> from_image(std::vector<Numbers> numbers, std::int64_t image) {
  for (Numbers& one : numbers) {
    one.data += image * one.size;
  }
  return numbers;
}

// Runs body(kept) on a team, each thread with so many floats of its own. A thread that gets none stays away: the caller
// has some.
template <class Body>
void on_team(int threads, std::int64_t floats, const Body& body) {
  const Scratch<float> own(floats);
  if (threads <= 1) {
    return body(own.get());
  }
  struct Team {
    const Body& body;
    float* own;
    std::int64_t floats;
    std::thread::id caller;
  };
  Team team{body, own.get(), floats, std::this_thread::get_id()};
  Pool::instance().run(
      threads,
      [](void* context) {
        const Team& team = *static_cast<const Team*>(context);
        if (std::this_thread::get_id() == team.caller) {
          return team.body(team.own);
        }
        Scratch<float> kept;
        try {
          kept = Scratch<float>(team.floats);
        } catch (const std::bad_alloc&) {
          return;
        }
        team.body(kept.get());
      },
      &team);
}

}  // namespace

Step& Program::step(std::int64_t number) {
  if (number < 0 || number >= size()) {
    throw InvalidInput("step of a program: received " + std::to_string(number) + "; allowed: 0 to " +
                       std::to_string(size() - 1));
  }
  return *steps_[static_cast<std::size_t>(number)];
}

void Program::settle() {
  if (weights_.get()) {
    return;
  }
  const auto room_of = [](const std::unique_ptr<Step>& step) {
    return (step->weight_bytes() + kCellBytes - 1) / kCellBytes * kCellBytes;
  };
  std::int64_t bytes = 0;
  for (const auto& step : steps_) {
    bytes += room_of(step);
  }
  weights_ = Scratch<std::uint8_t>(bytes);
  std::uint8_t* room = weights_.get();
  for (const auto& step : steps_) {
    step->settle(room);
    room += room_of(step);
  }
}

void Program::run(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                  int threads, std::vector<double>* seconds) {
  const std::int64_t most = images_ * kRoundsAtOnce;
  for (std::int64_t first = 0; first < batch; first += most) {
    run_rounds(from_image(inputs, first), from_image(outputs, first), std::min(most, batch - first), threads, seconds);
  }
}

void Program::run_rounds(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                         int threads, std::vector<double>* seconds) {
  const std::int64_t rounds = (batch + images_ - 1) / images_;
  Scratch<std::uint8_t> arena = take_arena();
  std::vector<std::vector<const float*>> from(static_cast<std::size_t>(rounds));
  std::vector<std::vector<float*>> to(static_cast<std::size_t>(rounds));
  std::vector<RunPlace> places(static_cast<std::size_t>(rounds));
  for (std::int64_t round = 0; round < rounds; ++round) {
    const auto at = static_cast<std::size_t>(round);
    for (const Numbers& input : from_image(inputs, round * images_)) {
      from[at].push_back(input.data);
    }
    for (const Numbers& output : from_image(outputs, round * images_)) {
      to[at].push_back(output.data);
    }
    const std::int64_t images = std::min(images_, batch - round * images_);
    places[at] = {&active(), arena.get() + margin_, &from[at], &to[at], images, threads};
  }
  const auto place = [&](std::int64_t item) -> const RunPlace& {
    return places[static_cast<std::size_t>(item / size())];
  };
  const auto step = [&](std::int64_t item) -> const Step& { return *steps_[static_cast<std::size_t>(item % size())]; };
  std::int64_t kept_floats = 0;
  for (const auto& one : steps_) {
    kept_floats = std::max(kept_floats, one->kept_floats(active()));
  }
  Walk walk(rounds * size(), threads, [&](std::int64_t item) { return step(item).tasks(place(item)); });
  const std::thread::id caller = std::this_thread::get_id();
  Clock::time_point before = Clock::now();
  on_team(threads, kept_floats, [&](float* kept) {
    const bool notes = seconds && std::this_thread::get_id() == caller;
    walk.join([&](std::int64_t item, std::int64_t task) { step(item).work(place(item), task, kept); },
              [&](std::int64_t item) {
                if (notes) {
                  const Clock::time_point now = Clock::now();
                  (*seconds)[static_cast<std::size_t>(item % size())] += seconds_between(before, now);
                  before = now;
                }
              });
  });
  give_arena(std::move(arena));
}

double Program::time(std::int64_t number, std::int64_t images, int threads, int repeats) {
  const Step& timed = step(number);
  Scratch<std::uint8_t> arena = take_arena();
  const std::vector<const float*> no_inputs;
  const std::vector<float*> no_outputs;
  const RunPlace place{&active(), arena.get() + margin_, &no_inputs, &no_outputs, std::min(images, images_), threads};
  std::vector<double> seconds(static_cast<std::size_t>(std::max(repeats, 1)) + 1);
  Walk walk(static_cast<std::int64_t>(seconds.size()), threads, [&](std::int64_t) { return timed.tasks(place); });
  Clock::time_point begin = Clock::now();
  on_team(threads, timed.kept_floats(active()), [&](float* kept) {
    walk.join(
        [&](std::int64_t repeat, std::int64_t task) {
          if (task == 0) {  // drawn right after the last task of the repeat before
            seconds[static_cast<std::size_t>(repeat)] = std::chrono::duration<double>(Clock::now() - begin).count();
          }
          timed.work(place, task, kept);
        },
        [](std::int64_t) {});
  });
  const double end = std::chrono::duration<double>(Clock::now() - begin).count();
  double best = end - seconds.back();
  for (std::size_t i = 1; i + 1 < seconds.size(); ++i) {
    best = std::min(best, seconds[i + 1] - seconds[i]);
  }
  give_arena(std::move(arena));
  return best;
}

Scratch<std::uint8_t> Program::take_arena() {
  {
    const std::lock_guard lock(mutex_);
    if (!arenas_.empty()) {
      Scratch<std::uint8_t> arena = std::move(arenas_.back());
      arenas_.pop_back();
      return arena;
    }
  }
  const std::int64_t bytes = arena_bytes_ + 2 * margin_;
  Scratch<std::uint8_t> arena(bytes);
  std::memset(arena.get(), 0, static_cast<std::size_t>(bytes));
  return arena;
}

void Program::give_arena(Scratch<std::uint8_t> arena) {
  const std::lock_guard lock(mutex_);
  arenas_.push_back(std::move(arena));
}

}  // namespace mezzotint
