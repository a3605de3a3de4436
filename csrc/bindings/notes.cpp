#include "bindings/notes.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace mezzotint::bindings {
namespace {

thread_local std::optional<std::vector<std::function<void()>>> noted;

}  // namespace

void note_calls() {
  noted.emplace();
}

void run_noted() {
  if (noted) {
    const auto all = std::exchange(*noted, {});
    for (const auto& work : all) {
      work();
    }
  }
}

void forget_noted() {
  noted.reset();
}

void do_or_note(std::function<void()> work) {
  if (noted) {
    noted->push_back(std::move(work));
  } else {
    work();
  }
}

}  // namespace mezzotint::bindings
