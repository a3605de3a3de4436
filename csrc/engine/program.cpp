#include "engine/program.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <thread>

#include "core/error.hpp"
#include "engine/stopwatch.hpp"
#include "engine/walk.hpp"
#include "isa/select.hpp"
#include "runtime/pool.hpp"
#include "runtime/turnstile.hpp"

namespace mezzotint {
namespace {

// What bounds the memory that a walk takes.
constexpr std::int64_t kRoundsAtOnce = 32;

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
    const std::int64_t taken = room_of(step);  // what it forgets then
    step->settle(room);
    room += taken;
  }
}

void Program::run(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                  int threads, std::vector<StepTime>* times) {
  const std::int64_t most = images_ * kRoundsAtOnce;
  Turnstile::instance().run(threads, [&] {
    for (std::int64_t first = 0; first < batch; first += most) {
      run_rounds(from_image(inputs, first), from_image(outputs, first), std::min(most, batch - first), threads, times);
    }
  });
}

void Program::run_rounds(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                         int threads, std::vector<StepTime>* times) {
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
  const auto work = [&](std::int64_t item, std::int64_t task, float* kept) {
    step(item).work(place(item), task, kept);
  };
  if (times) {
    Stopwatch watch(size(), *times);
    on_team(threads, kept_floats, [&](float* kept) {
      Stopwatch::Hand hand(watch);
      walk.join([&](std::int64_t item, std::int64_t task) { work(item, task, kept); },
                [&](std::int64_t item) { hand.left(item); }, [&](std::int64_t item) { hand.over(item); });
    });
  } else {
    const auto nothing = [](std::int64_t) {};
    on_team(threads, kept_floats, [&](float* kept) {
      walk.join([&](std::int64_t item, std::int64_t task) { work(item, task, kept); }, nothing, nothing);
    });
  }
  give_arena(std::move(arena));
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
