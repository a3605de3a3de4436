#include "engine/program.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>

#include "core/divide.hpp"
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
// Rounds that a thread which works alone should find, so that the last one keeps nobody waiting for long.
constexpr std::int64_t kRoundsAThread = 4;
// For the arenas of threads that work alone; beyond, all do the same images together.
constexpr std::int64_t kArenasBytes = 256 << 20;

std::vector<Numbers> from_image(std::vector<Numbers> numbers, std::int64_t image) {
  for (Numbers& one : numbers) {
    one.data += image * one.size;
  }
  return numbers;
}

// A batch cut into rounds of so many images; the arena of their places is not set yet.
class Rounds {
 public:
  Rounds(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
         std::int64_t images, int threads)
      : from_(z(divide_up(batch, images))), to_(from_.size()), places_(from_.size()) {
    for (std::size_t round = 0; round < places_.size(); ++round) {
      const std::int64_t first = static_cast<std::int64_t>(round) * images;
      for (const Numbers& input : from_image(inputs, first)) {
        from_[round].push_back(input.data);
      }
      for (const Numbers& output : from_image(outputs, first)) {
        to_[round].push_back(output.data);
      }
      places_[round] = {&active(), nullptr, &from_[round], &to_[round], std::min(images, batch - first), threads};
    }
  }
  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(places_.size()); }
  [[nodiscard]] RunPlace& place(std::int64_t round) { return places_[z(round)]; }

 private:
  static std::size_t z(std::int64_t i) { return static_cast<std::size_t>(i); }

  std::vector<std::vector<const float*>> from_;
  std::vector<std::vector<float*>> to_;
  std::vector<RunPlace> places_;
};

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

void Program::add(std::unique_ptr<Step> step, std::int64_t visit) {
  const bool fits = visit >= 1 && visit <= images_ && visit % (visits_.empty() ? 1 : visits_.back()) == 0;
  if (!fits) {
    throw InvalidInput("visit of a step: received " + std::to_string(visit) +
                       " images; allowed: a multiple of the visit before, up to the images of a round");
  }
  steps_.push_back(std::move(step));
  visits_.push_back(visit);
}

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
  (void)kept_floats();  // or nothing has begun
  const bool is_single = batch == 1 && !times;
  Turnstile::instance().run(threads, is_single, [&](int most) {
    is_single&& most > 1 ? run_at_best_pace(inputs, outputs, most) : run_now(inputs, outputs, batch, most, times);
  });
}

void Program::run_at_best_pace(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, int threads) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration since) { return std::chrono::duration<double>(since).count(); };
  const Clock::time_point begin = Clock::now();
  const auto paced = [&](const auto& use) {
    const std::lock_guard lock(mutex_);
    return use();
  };
  const int taking = paced([&] { return pace_.choose(threads, seconds(begin.time_since_epoch())); });
  run_now(inputs, outputs, 1, taking, nullptr);
  const Clock::time_point end = Clock::now();
  paced([&] { pace_.note(taking, seconds(end - begin), seconds(end.time_since_epoch())); });
}

void Program::run_now(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                      int threads, std::vector<StepTime>* times) {
  const std::int64_t floats = kept_floats();
  const std::int64_t arenas =
      std::clamp<std::int64_t>(kArenasBytes / std::max<std::int64_t>(arena_bytes_, 1), 1, threads);
  const std::int64_t most = images_ * kRoundsAtOnce;
  std::int64_t apart = 0, images = images_;
  if (has_visits()) {
    apart = batch;
    threads = times ? 1 : static_cast<int>(arenas);
  } else if (threads > 1 && !times && arenas == threads) {
    apart = batch - batch % threads;
    images =
        std::clamp<std::int64_t>(batch / (threads * kRoundsAThread), 1, std::max<std::int64_t>(1, images_ / threads));
  }
  for (std::int64_t first = 0; first < apart; first += most) {
    run_apart(from_image(inputs, first), from_image(outputs, first), std::min(most, apart - first), images, threads,
              floats, times);
  }
  for (std::int64_t first = apart; first < batch; first += most) {
    run_rounds(from_image(inputs, first), from_image(outputs, first), std::min(most, batch - first), threads, floats,
               times);
  }
}

void Program::run_apart(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                        std::int64_t images, int threads, std::int64_t floats, std::vector<StepTime>* times) {
  Rounds rounds(inputs, outputs, batch, images, 1);
  std::vector<Scratch<std::uint8_t>> arenas;
  for (int thread = 0; thread < threads; ++thread) {
    arenas.push_back(take_arena());
  }
  std::atomic<std::int64_t> next_round{0};
  std::atomic<int> joined{0};
  on_team(threads, floats, [&](float* kept) {
    const int self = joined.fetch_add(1, std::memory_order_relaxed);
    if (self >= threads) {
      return;
    }
    for (std::int64_t at; (at = next_round.fetch_add(1, std::memory_order_relaxed)) < rounds.count();) {
      RunPlace& place = rounds.place(at);
      place.arena = arenas[static_cast<std::size_t>(self)].get() + margin_;
      if (times) {
        Stopwatch watch(size(), *times);
        Stopwatch::Hand hand(watch);
        visit(place, steps_.size(), kept, [&](std::size_t step) {
          hand.left(static_cast<std::int64_t>(step));
          hand.over(static_cast<std::int64_t>(step));
        });
      } else {
        visit(place, steps_.size(), kept, [](std::size_t) {});
      }
    }
  });
  for (Scratch<std::uint8_t>& arena : arenas) {
    give_arena(std::move(arena));
  }
}

template <class Over>
void Program::visit(const RunPlace& place, std::size_t end, float* kept, const Over& over) const {
  if (end == 0) {
    return;
  }
  const std::int64_t images = visits_[end - 1];
  const auto begin =
      static_cast<std::size_t>(std::lower_bound(visits_.begin(), visits_.end(), images) - visits_.begin());
  for (std::int64_t first = 0; first < place.images; first += images) {
    RunPlace part = place;
    part.first += first;
    part.images = std::min(images, place.images - first);
    visit(part, begin, kept, over);
    for (std::size_t step = begin; step < end; ++step) {
      for (std::int64_t task = 0; task < steps_[step]->tasks(part); ++task) {
        steps_[step]->work(part, task, kept);
      }
      over(step);
    }
  }
}

void Program::run_rounds(const std::vector<Numbers>& inputs, const std::vector<Numbers>& outputs, std::int64_t batch,
                         int threads, std::int64_t floats, std::vector<StepTime>* times) {
  Rounds rounds(inputs, outputs, batch, images_, threads);
  Scratch<std::uint8_t> arena = take_arena();
  for (std::int64_t round = 0; round < rounds.count(); ++round) {
    rounds.place(round).arena = arena.get() + margin_;
  }
  const auto place = [&](std::int64_t item) -> const RunPlace& { return rounds.place(item / size()); };
  const auto step = [&](std::int64_t item) -> const Step& { return *steps_[static_cast<std::size_t>(item % size())]; };
  Walk walk(rounds.count() * size(), threads, [&](std::int64_t item) { return step(item).tasks(place(item)); });
  const auto work = [&](std::int64_t item, std::int64_t task, float* kept) {
    step(item).work(place(item), task, kept);
  };
  if (times) {
    Stopwatch watch(size(), *times);
    on_team(threads, floats, [&](float* kept) {
      Stopwatch::Hand hand(watch);
      walk.join([&](std::int64_t item, std::int64_t task) { work(item, task, kept); },
                [&](std::int64_t item) { hand.left(item); }, [&](std::int64_t item) { hand.over(item); });
    });
  } else {
    const auto nothing = [](std::int64_t) {};
    on_team(threads, floats, [&](float* kept) {
      walk.join([&](std::int64_t item, std::int64_t task) { work(item, task, kept); }, nothing, nothing);
    });
  }
  give_arena(std::move(arena));
}

std::int64_t Program::kept_floats() const {
  std::int64_t floats = 0;
  for (const auto& step : steps_) {
    floats = std::max(floats, step->kept_floats(active()));
  }
  return floats;
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
