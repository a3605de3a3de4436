#include "bindings/notes.hpp"

#include <optional>
#include <utility>

namespace mezzotint::bindings {
namespace {

struct Noted {
  Calls calls;
  std::shared_ptr<Calls> kept;  // since the last cut: noted, but not among `calls` yet; null when nothing is kept
};

thread_local std::optional<Noted> noted;

void run(const Calls& calls) {
  for (const auto& work : calls) {
    work();
  }
}

// Nothing changes but that the kept calls are noted as one.
std::shared_ptr<Calls> close(Noted& of) {
  auto closed = std::exchange(of.kept, nullptr);
  if (closed && !closed->empty()) {
    of.calls.emplace_back([closed] { run(*closed); });
  }
  return closed;
}

}  // namespace

void note_calls() {
  noted.emplace();
}

void run_noted() {
  if (noted) {
    const bool keeps = close(*noted) != nullptr;
    const auto all = std::exchange(noted->calls, {});
    if (keeps) {
      keep_noted();
    }
    run(all);
  }
}

void forget_noted() {
  noted.reset();
}

void keep_noted() {
  if (noted) {
    noted->kept = std::make_shared<Calls>();
  }
}

std::shared_ptr<Calls> cut() {
  auto calls = noted ? close(*noted) : nullptr;
  keep_noted();
  return calls ? calls : std::make_shared<Calls>();
}

void keep_no_more() {
  if (noted) {
    close(*noted);
  }
}

void do_or_note(std::function<void()> work) {
  if (!noted) {
    work();
  } else if (noted->kept) {
    noted->kept->push_back(std::move(work));
  } else {
    noted->calls.push_back(std::move(work));
  }
}

void do_or_note_again(std::shared_ptr<Calls> calls) {
  do_or_note([calls = std::move(calls)] { run(*calls); });
}

}  // namespace mezzotint::bindings
