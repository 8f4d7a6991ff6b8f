#include "schedule/engine.h"

#include <algorithm>
#include <string>

#include "schedule/validate.h"

namespace npr::schedule {

namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_request, message); }

void require_slots(const Request& request, uint32_t slots) {
  if (request.n > slots) {
    refuse("n is " + std::to_string(request.n) + "; expected 1 to " + std::to_string(slots));
  }
  const uint64_t prompt = request.prompt.size();
  const uint64_t most = prompt + uint64_t{request.n} * request.max_tokens;
  if (most > slots) {
    refuse("the prompt's " + std::to_string(prompt) + " tokens and " + std::to_string(request.n) + " x " +
           std::to_string(request.max_tokens) + " new ones exceed the KV pool of " + std::to_string(slots) + " tokens");
  }
}

}  // namespace

Engine::Engine(std::unique_ptr<model::Model> model, text::Vocabulary vocabulary, const Options& options, Sink sink)
    : model_(std::move(model)),
      lexicon_(std::move(vocabulary)),
      options_(options),
      sink_(std::move(sink)),
      pool_(model_->slots()),
      tree_(pool_),
      builder_(pool_, tree_) {
  if (!options.max_running) refuse("max_running is 0; expected at least 1");
  seen_.slots = seen_.free = pool_.size();
}

Engine::~Engine() { close(); }

void Engine::submit(Request request) {
  validate(request, config(), lexicon_);
  require_slots(request, pool_.size());
  std::list<Active> arriving(1);
  Active& active = arriving.front();
  active.submitted = Clock::now();
  const RequestId id = request.id;
  active.request = std::move(request);

  const std::lock_guard lock(door_);
  if (closing_) throw Error(ErrorCode::unavailable, "the engine is closed");
  if (live_.size() >= size_t{options_.max_running} + options_.max_waiting) {
    throw Error(ErrorCode::queue_full, "the waiting queue is full: " + std::to_string(options_.max_running) +
                                           " requests run and " + std::to_string(options_.max_waiting) + " wait");
  }
  if (!live_.insert(id).second) refuse("request id " + std::to_string(id) + " is in use");
  active.arrival = ++arrivals_;
  inbox_.splice(inbox_.end(), arriving);
  bell_.notify_one();
}

void Engine::cancel(RequestId id) {
  const std::lock_guard lock(door_);
  if (!live_.contains(id)) return;
  cancelled_.insert(id);
  bell_.notify_one();
}

void Engine::exclusive(const std::function<void(model::Model&)>& work) {
  const std::lock_guard lock(state_);
  {
    const std::lock_guard door(door_);
    if (closing_) throw Error(ErrorCode::unavailable, "the engine is closed");
    if (!live_.empty()) {
      refuse("the model is to be had while no request runs or waits; now there are " + std::to_string(live_.size()));
    }
  }
  tree_.clear();
  pool_.reset();
  publish();
  work(*model_);
}

void Engine::start() {
  ensure(!thread_.joinable(), "an engine started once");
  thread_ = std::thread([this] { run(); });
}

void Engine::close() {
  {
    const std::lock_guard lock(door_);
    closing_ = true;
    bell_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  while (step()) {
  }
}

void Engine::run() {
  for (;;) {
    if (step()) continue;
    std::unique_lock lock(door_);
    bell_.wait(lock, [this] { return closing_ || !inbox_.empty() || !cancelled_.empty(); });
    if (closing_) return;
  }
}

void Engine::take_inbox() {
  std::unordered_set<RequestId> cancelled;
  bool all = false;
  {
    const std::lock_guard lock(door_);
    totals_.requests += inbox_.size();
    waiting_.splice(waiting_.end(), inbox_);
    cancelled.swap(cancelled_);
    all = closing_;
  }
  if (!all && cancelled.empty()) return;
  const auto leaves = [&](Active& active) {
    if (!all && !cancelled.contains(active.request.id)) return false;
    for (auto& choice : active.choices) choice->finish(FinishReason::cancelled, events_);
    end(active);
    return true;
  };
  std::erase_if(running_, leaves);
  std::erase_if(waiting_, leaves);
}

// What other threads see of the step.
void Engine::publish() {
  const std::lock_guard lock(door_);
  for (const auto& event : events_) {
    if (event.type == Event::Type::finished || event.type == Event::Type::failed) {
      live_.erase(event.request);
      cancelled_.erase(event.request);
    }
  }
  seen_ = totals_;
  seen_.running = static_cast<uint32_t>(running_.size());
  seen_.waiting = static_cast<uint32_t>(waiting_.size());
  seen_.slots = pool_.size();
  seen_.free = pool_.free();
  seen_.cached = tree_.evictable();
  seen_.branches = running_.empty() ? 0 : static_cast<uint32_t>(builder_.samples().size());
}

Stats Engine::stats() const {
  const std::lock_guard lock(door_);
  Stats stats = seen_;
  stats.waiting += static_cast<uint32_t>(inbox_.size());
  return stats;
}

void Engine::check_integrity() const {
  const std::lock_guard lock(state_);
  tree_.check();
  std::vector<uint8_t> owners(pool_.size(), 0);
  for (compute::Slot slot = 0; slot < pool_.size(); ++slot) owners[slot] = pool_.is_free(slot);
  const auto claim = [&](compute::Slot slot) { ensure(owners[slot]++ == 0, "one owner for every slot, found two"); };
  tree_.visit(claim);
  for (const auto& active : running_) {
    for (size_t i = active.owned; i < active.slots.size(); ++i) claim(active.slots[i]);
    for (const auto& choice : active.choices) {
      branch::for_each_flat(choice->trunk(), [&](const branch::Branch& branch, uint32_t from, uint32_t to) {
        for (uint32_t i = from; i < to && i < branch.slots.size(); ++i) claim(branch.slots[i]);
      });
    }
  }
  ensure(std::ranges::all_of(owners, [](uint8_t count) { return count == 1; }), "one owner for every slot, found none");
  if (running_.empty()) ensure(tree_.evictable() == tree_.cached(), "an idle engine that holds nothing");
}

}  // namespace npr::schedule
