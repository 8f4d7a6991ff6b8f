// Engines over a tiny random model whose vocabulary is made of tags, digits and letters, so that blocks are common.
#pragma once
#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "compute/test_backend.h"
#include "model/checkpoint.h"
#include "model/model.h"
#include "model/model_directory.h"
#include "sample/plain_policies.h"
#include "schedule/engine.h"

namespace test {

using npr::Event;
using npr::Request;

constexpr int32_t colon = 11, newline = 12, im_start = 36, im_end = 37, assistant = 38, user = 39, first_tag = 40;
constexpr uint32_t vocabulary_size = 48;

inline npr::text::Vocabulary vocabulary() {
  npr::text::Vocabulary out;
  const auto add = [&](std::string_view bytes) {
    out.offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
    out.bytes.insert(out.bytes.end(), bytes.begin(), bytes.end());
  };
  for (char c = '0'; c <= '9'; ++c) add({&c, 1});
  add(".");
  add(":");
  add("\n");
  add(" ");
  // Halves of two-byte characters among the letters, so that tokens end inside characters.
  add("\xc3");
  add("\xa9");
  for (char c = 'a'; c < 'a' + 20; ++c) add({&c, 1});
  for (const char* word : {"<|im_start|>", "<|im_end|>", "assistant", "user", "<guideline>", "</guideline>", "<plan>",
                           "</plan>", "<step>", "</step>", "<takeaway>", "</takeaway>"}) {
    add(word);
  }
  out.offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
  out.end_tokens = {im_end};
  out.tags = npr::text::Tags{40, 41, 42, 43, 44, 45, 46, 47};
  out.turn_head = {im_start, assistant, newline};
  out.turn_end = im_end;
  out.newline = {newline};
  out.colon = {colon};
  for (int32_t i = 0; i < 10; ++i) out.digits[static_cast<size_t>(i)] = {i};
  out.dot = {10};
  return out;
}

inline const npr::model::Checkpoint& checkpoint() {
  static const TemporaryDirectory directory;
  static const auto made = [] {
    auto config = tiny_config();
    config.vocab_size = vocabulary_size;
    config.max_position_embeddings = 400;
    config.end_tokens = {im_end};
    npr::model::write_random_checkpoint(directory.path(), config, 7);
    return std::make_unique<npr::model::Checkpoint>(directory.path());
  }();
  return *made;
}

struct Setup {
  uint32_t threads = 1;
  uint32_t rows = 256;
  uint32_t slots = 4096;
  npr::compute::WeightFormat weights = npr::compute::WeightFormat::bf16;
  npr::schedule::Options options = {};
  PlainPolicies* policies = nullptr;  // that look at logits which the host then does not see
  bool on_host = false;               // the host looks at all logits
};

// Everything that a caller could see of one request.
struct Transcript {
  struct Branch {
    std::vector<int32_t> tokens;
    std::vector<uint32_t> bits;  // of every log-probability
    std::string text;
    bool operator==(const Branch&) const = default;
  };
  // By place, such as 0 for a choice's trunk and 0/1.2 for the third branch of its second block: ids are given in the
  // order in which branches are created, and that is the scheduler's affair.
  std::map<std::string, Branch> branches;
  std::map<uint32_t, npr::FinishReason> reasons;
  std::vector<uint32_t> prompt_bits;
  bool finished = false;
  std::string failure;
  npr::Usage usage;
  npr::Timings timings;

  // Where this and another answer part; empty: nowhere.
  std::string difference(const Transcript& other) const {
    if (failure != other.failure) return "failure: " + failure + " / " + other.failure;
    if (finished != other.finished) return "one did not finish";
    if (prompt_bits != other.prompt_bits) return "prompt log-probabilities";
    if (reasons != other.reasons) return "finish reasons";
    for (const auto& [key, branch] : branches) {
      const std::string where = "branch " + key + ": ";
      const auto found = other.branches.find(key);
      if (found == other.branches.end()) return where + "absent";
      if (branch.tokens != found->second.tokens) {
        const auto at = std::ranges::mismatch(branch.tokens, found->second.tokens).in1 - branch.tokens.begin();
        return where + "tokens from " + std::to_string(at);
      }
      if (branch.bits != found->second.bits) return where + "log-probabilities";
      if (branch.text != found->second.text) return where + "text";
    }
    if (branches.size() != other.branches.size()) return "number of branches";
    if (usage.completion_tokens != other.usage.completion_tokens) return "completion tokens";
    if (usage.critical_path_tokens != other.usage.critical_path_tokens) return "critical path";
    return "";
  }

  void take(const Event& event) {
    const auto put = [](std::vector<uint32_t>& bits, const std::vector<npr::TokenLogprob>& logprobs) {
      for (const auto& entry : logprobs) {
        bits.push_back(static_cast<uint32_t>(entry.token));
        bits.push_back(std::bit_cast<uint32_t>(entry.logprob));
        for (const auto& [token, value] : entry.top) {
          bits.push_back(static_cast<uint32_t>(token));
          bits.push_back(std::bit_cast<uint32_t>(value));
        }
      }
    };
    switch (event.type) {
      case Event::Type::delta: {
        auto& branch = branches[place(event.choice, event.branch)];
        branch.tokens.insert(branch.tokens.end(), event.tokens.begin(), event.tokens.end());
        branch.text += event.text;
        put(branch.bits, event.logprobs);
        for (const float value : event.policy_logprobs) branch.bits.push_back(std::bit_cast<uint32_t>(value));
        return;
      }
      case Event::Type::block_opened:
        blocks_[{event.choice, event.block}] = opened_[{event.choice, event.branch}]++;
        return;
      case Event::Type::branch_created:
        places_[{event.choice, event.branch}] = place(event.choice, event.parent) + "/" +
                                                std::to_string(blocks_.at({event.choice, event.block})) + "." +
                                                std::to_string(event.index);
        return;
      case Event::Type::prompt_logprobs:
        return put(prompt_bits, event.logprobs);
      case Event::Type::choice_finished:
        reasons[event.choice] = event.reason;
        return;
      case Event::Type::finished:
        finished = true;
        usage = event.usage;
        timings = event.timings;
        return;
      case Event::Type::failed:
        finished = true;
        failure = event.text;
        return;
      default:
        return;
    }
  }

 private:
  using Id = std::pair<uint32_t, uint32_t>;  // of a choice, and of a branch or a block within it

  std::string place(uint32_t choice, uint32_t branch) const {
    return branch ? places_.at({choice, branch}) : std::to_string(choice);
  }

  std::map<Id, std::string> places_;  // of branches
  std::map<Id, uint32_t> opened_;     // blocks that a branch opened
  std::map<Id, uint32_t> blocks_;     // a block's ordinal within its parent
};

// An engine that the test steps itself, and what it has answered.
class World {
 public:
  explicit World(const Setup& setup) {
    auto backend = support::make_test_backend({.threads = setup.threads, .weights = setup.weights});
    if (setup.policies && !backend->policies()) {
      backend = std::make_unique<FarBackend>(std::move(backend), *setup.policies);
    }
    if (setup.on_host) backend = std::make_unique<HostBackend>(std::move(backend));
    const uint64_t slot_bytes = checkpoint().config().kv_shape().slot_bytes();
    auto model =
        std::make_unique<npr::model::Model>(checkpoint(), std::move(backend), setup.slots * slot_bytes, setup.rows);
    engine_ = std::make_unique<npr::schedule::Engine>(std::move(model), vocabulary(), setup.options,
                                                      [this](std::vector<Event>&& events) {
                                                        for (const auto& event : events)
                                                          transcripts_[event.request].take(event);
                                                      });
  }

  npr::schedule::Engine& engine() { return *engine_; }
  const Transcript& of(npr::RequestId id) { return transcripts_[id]; }
  void run() {
    while (engine_->step()) {
    }
  }
  // Alone, from nothing.
  Transcript alone(const Request& request) {
    engine_->submit(request);
    run();
    return transcripts_[request.id];
  }

 private:
  std::map<npr::RequestId, Transcript> transcripts_;
  std::unique_ptr<npr::schedule::Engine> engine_;
};

// Requests of every kind. Prompts share prefixes; some are conversations with blocks that an earlier answer wrote.
class RequestMaker {
 public:
  explicit RequestMaker(uint64_t seed) : random_(seed) {}

  uint32_t below(uint32_t n) { return std::uniform_int_distribution<uint32_t>(0, n - 1)(random_); }
  bool chance(uint32_t in) { return below(in) == 0; }

  Request make(npr::RequestId id) {
    Request request;
    request.id = id;
    request.prompt = prompt();
    request.n = chance(4) ? 1 + below(3) : 1;
    request.max_tokens = chance(8) ? below(4) : 20 + below(100);
    request.min_tokens = chance(4) ? below(30) : 0;
    request.ignore_eos = chance(3);
    if (chance(4)) request.stop = {"ab", "c"};
    if (chance(6)) request.stop_token_ids = {20, 21};
    request.logprobs = static_cast<int32_t>(below(4)) - 1;
    if (chance(5)) request.prompt_logprobs = 1;
    request.policy_logprobs = chance(2);
    auto& sampling = request.sampling;
    sampling.temperature = chance(5) ? 0.0f : 0.6f + 0.3f * static_cast<float>(below(4));
    if (chance(4)) sampling.top_p = 0.8f;
    if (chance(4)) sampling.top_k = 10;
    if (chance(6)) sampling.min_p = 0.02f;
    if (chance(5)) sampling.repetition_penalty = 1.2f;
    if (chance(6)) sampling.presence_penalty = 0.5f;
    if (chance(6)) sampling.frequency_penalty = 0.1f;
    if (chance(5)) sampling.branch_repetition_penalty = 1.02f;
    sampling.logit_bias = {{40, 4.0f}, {41, 4.0f}, {42, 2.0f}, {43, 4.0f}, {45, 2.0f}, {47, 4.0f}};
    sampling.seed = random_();
    request.parallel.enabled = !chance(5);
    request.parallel.max_branches = 1 + below(5);
    request.parallel.max_depth = 1 + below(3);
    request.parallel.max_branch_tokens = chance(3) ? 3 + below(20) : 0;
    request.parallel.on_invalid = static_cast<npr::OnInvalid>(chance(2) ? 0 : below(3));
    return request;
  }

  // A turn that later prompts may continue.
  void remember(const Request& request, const std::vector<int32_t>& flat) {
    auto history = request.prompt;
    history.insert(history.end(), flat.begin(), flat.end());
    if (history.back() != im_end) history.push_back(im_end);
    history.push_back(newline);
    if (history.size() < 150) histories_.push_back(std::move(history));
  }

 private:
  std::vector<int32_t> prompt() {
    std::vector<int32_t> tokens;
    if (!histories_.empty() && chance(2)) tokens = histories_[below(static_cast<uint32_t>(histories_.size()))];
    if (chance(12)) {  // no chat at all
      for (uint32_t i = 0; i < 1 + below(20); ++i) tokens.push_back(static_cast<int32_t>(below(vocabulary_size)));
      return tokens;
    }
    tokens.insert(tokens.end(), {im_start, user, newline});
    const uint32_t kind = below(4);
    for (uint32_t i = 0; i < 3 + 12 * kind; ++i) tokens.push_back(static_cast<int32_t>(14 + (i * 7 + kind) % 22));
    if (chance(6)) tokens.push_back(first_tag + 4);  // a tag token in a user's turn
    tokens.insert(tokens.end(), {im_end, newline, im_start, assistant, newline});
    if (chance(8)) tokens.insert(tokens.end(), {first_tag, first_tag + 2, 1, colon});  // continues an open plan
    return tokens;
  }

  std::mt19937_64 random_;
  std::vector<std::vector<int32_t>> histories_;
};

}  // namespace test
