// Where slots change hands: finished prompts and choices, preemption, the end of a request.
#include <algorithm>

#include "schedule/engine.h"

namespace npr::schedule {

namespace {

void forget(branch::Branch& branch) {
  branch.slots.clear();
  branch.path.clear();
  branch.path_length = branch.merged = branch.dropped = 0;
  branch.has_context = false;
  for (auto& block : branch.blocks) {
    for (auto& child : block->branches) forget(*child);
  }
}

double ms(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

}  // namespace

// A computed prompt goes to the prefix cache at once: requests that run beside this one share it.
void Engine::finish_prompts() {
  for (auto& active : running_) {
    if (active.prompt_done || active.slots.size() < active.prompt_tokens()) continue;
    if (options_.prefix_cache) {
      auto* const node = tree_.insert(active.keys, active.slots, active.owned);
      if (active.held) tree_.unlock(active.held);
      active.held = node;
      active.owned = active.prompt_tokens();
    }
    for (const auto& [begin, end] : active.prompt.layout.context) {
      kv::append(active.path, &active.slots[begin], end - begin);
    }
    active.prompt_done = true;
  }
}

void Engine::finish_requests() {
  std::erase_if(running_, [&](Active& active) {
    if (active.fault) {
      fail(active, *active.fault);
      return true;
    }
    if (!active.prompt_done) return false;
    for (auto& choice : active.choices) {
      if (!active.request.max_tokens) choice->finish(FinishReason::length, events_);
      if (choice->finished()) release(active, *choice, true);
    }
    if (!active.finished()) return false;
    end(active);
    return true;
  });
}

void Engine::preempt(Active& active) {
  for (auto& choice : active.choices) {
    if (choice->finished()) continue;
    branch::for_each_flat(choice->trunk(), [&](branch::Branch& branch, uint32_t from, uint32_t to) {
      for (size_t i = from; i < std::min<size_t>(to, branch.slots.size()); ++i) pool_.give(branch.slots[i]);
    });
    forget(choice->trunk());
  }
  release_prompt(active, true);
  active.recomputing = true;
  ++active.preemptions;
  ++totals_.preemptions;
}

void Engine::release(Active& active, branch::Choice& choice, bool keep) {
  if (active.released[choice.index()]) return;
  active.released[choice.index()] = true;
  keep = keep && options_.prefix_cache && active.prompt_done;
  auto keys = active.keys;
  auto slots = active.slots;
  // Past the first token that is not computed nothing is a prefix any more.
  bool whole = true;
  branch::for_each_flat(choice.trunk(), [&](branch::Branch& branch, uint32_t from, uint32_t to) {
    for (size_t i = from; i < to; ++i) {
      if (i >= branch.slots.size()) {
        whole = false;
        break;
      }
      if (keep && whole) {
        keys.push_back(kv::key_of(branch.tokens[i], branch.structural[i]));
        slots.push_back(branch.slots[i]);
      } else {
        pool_.give(branch.slots[i]);
      }
    }
  });
  if (keep) tree_.unlock(tree_.insert(keys, slots, active.owned));
  forget(choice.trunk());

  const Usage& usage = choice.usage();
  totals_.completion_tokens += usage.completion_tokens;
  totals_.forced_tokens += usage.forced_tokens;
  totals_.blocks += usage.blocks;
  totals_.forked_branches += usage.branches;
}

void Engine::release_prompt(Active& active, bool keep) {
  const auto computed = static_cast<uint32_t>(active.slots.size());
  if (keep && options_.prefix_cache && computed > active.owned) {
    const auto keys = std::span(active.keys).first(computed);
    tree_.unlock(tree_.insert(keys, active.slots, active.owned));
  } else {
    for (uint32_t i = active.owned; i < computed; ++i) pool_.give(active.slots[i]);
  }
  if (active.held) tree_.unlock(active.held);
  active.held = nullptr;
  active.slots.clear();
  active.owned = 0;
  active.path.clear();
  active.prompt_done = false;
}

void Engine::end(Active& active) {
  Event finished{.type = Event::Type::finished, .request = active.request.id};
  finished.usage.prompt_tokens = active.prompt_tokens();
  finished.usage.cached_tokens = active.cached_tokens;
  for (auto& choice : active.choices) {
    release(active, *choice, true);
    const Usage& usage = choice->usage();
    finished.usage.completion_tokens += usage.completion_tokens;
    finished.usage.forced_tokens += usage.forced_tokens;
    finished.usage.blocks += usage.blocks;
    finished.usage.branches += usage.branches;
    finished.usage.critical_path_tokens = std::max(finished.usage.critical_path_tokens, usage.critical_path_tokens);
  }
  release_prompt(active, true);

  const auto now = Clock::now();
  const auto admitted = active.started ? active.admitted : now;
  const auto first = active.first_token == Clock::time_point{} ? now : active.first_token;
  finished.timings = {ms(active.submitted, admitted), ms(admitted, first), ms(active.submitted, now),
                      active.preemptions};
  events_.push_back(std::move(finished));
}

// Nothing of a failed request is kept: what it computed last may not be what it should be.
void Engine::fail(Active& active, const Error& error) {
  for (auto& choice : active.choices) release(active, *choice, false);
  release_prompt(active, false);
  report_failure(active.request.id, error.code(), error.what());
}

// Where a step breaks off, nobody knows who owns which slot: requests and prefix cache go, and every slot is free.
void Engine::start_over(ErrorCode code, const char* what) {
  pool_.reset();
  tree_.clear();
  for (auto* const list : {&running_, &waiting_}) {
    for (; !list->empty(); list->pop_front()) report_failure(list->front().request.id, code, what);
  }
}

void Engine::report_failure(RequestId id, ErrorCode code, const char* what) {
  Event failed{.type = Event::Type::failed, .request = id};
  failed.code = code;
  failed.text = what;
  events_.push_back(std::move(failed));
}

}  // namespace npr::schedule
