// What is cached is what would be computed: conversations are grown from answers of every kind, blocks cut short
// included, then torn at random, so that prompts of different layouts share their first tokens.
#include "check.h"
#include "schedule/flat_answer.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

namespace {

struct Answer {
  Transcript transcript;
  FlatAnswer flat;
};

class Served {
 public:
  explicit Served(bool cache) {
    auto model = std::make_unique<model::Model>(checkpoint(), support::make_test_backend({.threads = 1}),
                                                1500 * checkpoint().config().kv_shape().slot_bytes(), 64);
    engine_ = std::make_unique<schedule::Engine>(
        std::move(model), vocabulary(), schedule::Options{.prefix_cache = cache}, [this](std::vector<Event>&& events) {
          for (const auto& event : events) {
            auto& answer = answers_[event.request];
            answer.transcript.take(event);
            if (event.choice == 0) answer.flat.take(event);
          }
        });
  }
  // Cancelled after `steps` steps; 0: never.
  const Answer& ask(const Request& request, uint32_t steps = 0) {
    engine_->submit(request);
    for (uint32_t done = 1; engine_->step(); ++done) {
      if (done == steps) engine_->cancel(request.id);
    }
    return answers_[request.id];
  }
  schedule::Engine& engine() { return *engine_; }

 private:
  std::map<RequestId, Answer> answers_;
  std::unique_ptr<schedule::Engine> engine_;
};

// A prompt grown from a history: torn anywhere, or with one token changed, or as it is; then left open or closed.
std::vector<int32_t> grow(std::vector<int32_t> history, RequestMaker& random) {
  const auto size = static_cast<uint32_t>(history.size());
  const auto any = [&] {
    return static_cast<int32_t>(random.chance(2) ? first_tag + random.below(8) : random.below(36));
  };
  const uint32_t kind = random.below(4);
  if (kind == 0) history.resize(1 + random.below(size));
  if (kind == 1) history[random.below(size)] = any();
  if (kind == 2) history.insert(history.begin() + random.below(size), any());
  if (random.chance(3)) return history;
  for (const int32_t token : {im_end, newline, im_start, user, newline, 14 + static_cast<int32_t>(random.below(20)),
                              im_end, newline, im_start, assistant, newline}) {
    history.push_back(token);
  }
  return history;
}

}  // namespace

TEST(torn_and_changed_conversations_find_only_what_is_theirs) {
  RequestMaker random(3);
  Served warm(true), cold(false);
  std::vector<std::vector<int32_t>> histories;
  uint32_t blocks = 0, structured_hits = 0;
  for (RequestId id = 1; id <= 900 / check::stride(); ++id) {
    Request request = random.make(id);
    request.n = 1;
    request.prompt_logprobs = -1;
    request.logprobs = 0;
    request.max_tokens = 10 + random.below(90);
    if (!histories.empty() && !random.chance(6)) {
      request.prompt = grow(histories[random.below(static_cast<uint32_t>(histories.size()))], random);
    }
    const bool cancelled = random.chance(6);
    const auto& answer = warm.ask(request, cancelled ? 1 + random.below(30) : 0);
    blocks += answer.transcript.usage.blocks;
    if (!cancelled) {
      const auto difference = cold.ask(request).transcript.difference(answer.transcript);
      if (!difference.empty()) throw check::Failed("request " + std::to_string(id) + ": " + difference);
      const auto cached = request.prompt.begin() + answer.transcript.usage.cached_tokens;
      structured_hits += std::find(request.prompt.begin(), cached, first_tag + 4) != cached;
    }
    auto flat = request.prompt;
    const auto added = answer.flat.flat().tokens;
    flat.insert(flat.end(), added.begin(), added.end());
    if (flat.size() < 260) histories.push_back(std::move(flat));
    if (histories.size() > 40) histories.erase(histories.begin() + random.below(20));
  }
  warm.engine().check_integrity();
  CHECK(blocks > 200 / check::stride());
  CHECK(structured_hits > 100 / check::stride());
}
