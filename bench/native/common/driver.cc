#include "common/driver.h"

#include <chrono>
#include <random>
#include <utility>

#include "common/made_up_vocabulary.h"
#include "model/checkpoint.h"

namespace npr::bench {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Seeds of prompts from here on are decode_apart()'s; prefill() counts up from 1.
constexpr uint64_t apart = uint64_t{1} << 32;

// What the first sequence adds until the last prompt is through, at most: prompts get half of a step's rows and more.
uint32_t tokens_before(uint32_t sequences, uint32_t context, uint32_t max_rows) {
  return static_cast<uint32_t>(2 * (uint64_t{sequences} * context / max_rows + 1));
}

}  // namespace

Driver::Driver(const std::filesystem::path& model, const compute::DeviceOptions& device, uint32_t max_rows,
               uint32_t slots)
    : max_rows_(max_rows) {
  const model::Checkpoint checkpoint(model);
  const uint64_t kv_bytes = slots * checkpoint.config().kv_shape().slot_bytes();
  auto loaded = std::make_unique<model::Model>(checkpoint, compute::make_backend(device), kv_bytes, max_rows);
  auto vocabulary = made_up_vocabulary(loaded->config().vocab_size);
  engine_ = std::make_unique<schedule::Engine>(std::move(loaded), std::move(vocabulary),
                                               schedule::Options{.max_running = 1024, .max_waiting = 1024},
                                               [this](std::vector<Event>&& events) { take(std::move(events)); });
}

void Driver::take(std::vector<Event>&& events) {
  for (const Event& event : events) {
    if (event.type == Event::Type::delta) tokens_ += event.tokens.size();
    if (event.type == Event::Type::finished) finished_ms_.push_back(event.timings.total_ms);
    if (event.type == Event::Type::failed) throw Error(event.code, event.text);
  }
}

std::vector<int32_t> Driver::random_prompt(uint32_t tokens, uint64_t seed) const {
  std::mt19937_64 random(seed);
  std::vector<int32_t> out(tokens);
  for (int32_t& token : out) token = static_cast<int32_t>(random() % config().vocab_size);
  return out;
}

RequestId Driver::submit(std::vector<int32_t> prompt, uint32_t n, uint32_t tokens, float temperature) {
  Request request;
  request.id = next_id_++;
  request.prompt = std::move(prompt);
  request.n = n;
  request.max_tokens = tokens;
  request.ignore_eos = true;
  request.sampling.temperature = temperature;
  engine_->submit(std::move(request));
  return next_id_ - 1;
}

void Driver::step() { ensure(engine_->step(), "requests that last as long as they are measured"); }

double Driver::prefill(uint32_t tokens) {
  submit(random_prompt(tokens, next_id_), 1, 1, 0);
  finished_ms_.clear();
  const auto start = Clock::now();
  while (finished_ms_.empty()) step();
  return since(start);
}

Decode Driver::decode(uint32_t branches, uint32_t trunk, uint32_t tokens) {
  submit(random_prompt(trunk, 0), branches, tokens, 1);
  finished_ms_.clear();
  const uint64_t before = tokens_;
  while (tokens_ == before) step();
  const uint64_t first = tokens_;
  const auto start = Clock::now();
  while (finished_ms_.empty()) step();
  return {tokens_ - first, since(start), (tokens + 1) / 2.0};
}

uint64_t Driver::slots_apart(uint32_t sequences, uint32_t context, uint32_t tokens, uint32_t max_rows) {
  return uint64_t{sequences} * (context + tokens + tokens_before(sequences, context, max_rows) + 32);
}

Decode Driver::decode_apart(uint32_t sequences, uint32_t context, uint32_t tokens) {
  const uint32_t most = tokens + tokens_before(sequences, context, max_rows_);
  std::vector<RequestId> requests;
  const uint64_t begin = tokens_;
  for (uint32_t s = 0; s < sequences; ++s) requests.push_back(submit(random_prompt(context, apart + s), 1, most, 1));
  finished_ms_.clear();
  uint64_t before = 0;
  do {
    before = tokens_;
    step();
  } while (tokens_ - before < sequences);
  const uint64_t first = tokens_;
  const auto start = Clock::now();
  for (uint32_t i = 1; i < tokens; ++i) step();
  const Decode out{tokens_ - first, since(start), context + (tokens_ + first - 2.0 * begin) / 2 / sequences};
  ensure(out.tokens == uint64_t{sequences} * (tokens - 1) && finished_ms_.empty(), "a token of each sequence a step");
  for (const RequestId request : requests) engine_->cancel(request);
  while (engine_->step()) {
  }
  return out;
}

Load Driver::closed_loop(const std::vector<int32_t>& prompt, uint32_t tokens, uint32_t concurrency, double seconds) {
  for (uint32_t i = 0; i < concurrency; ++i) submit(prompt, 1, tokens, 0);
  finished_ms_.clear();
  const uint64_t before = tokens_;
  const auto start = Clock::now();
  Load load;
  uint32_t open = concurrency;
  while (open) {
    step();
    for (const double ms : std::exchange(finished_ms_, {})) {
      load.latency_ms.push_back(ms);
      --open;
      if (since(start) >= seconds) continue;
      submit(prompt, 1, tokens, 0);
      ++open;
    }
  }
  load.seconds = since(start);
  load.requests = load.latency_ms.size();
  load.tokens = tokens_ - before;
  return load;
}

}  // namespace npr::bench
