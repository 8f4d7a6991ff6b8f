#include "addon/event_batch.h"

#include "text/utf8.h"

namespace npr::addon {

void EventBatch::put_text(std::string_view characters) {
  size_t units = 0;
  for (const char c : characters) {
    const auto byte = static_cast<uint8_t>(c);
    units += (byte & 0xc0) != 0x80;  // a character begins
    units += byte >= 0xf0;           // one beyond U+FFFF is a surrogate pair
  }
  put(units);
  text += characters;
}

void EventBatch::put_tokens(const std::vector<int32_t>& tokens) {
  put(tokens.size());
  numbers.insert(numbers.end(), tokens.begin(), tokens.end());
}

void EventBatch::put_logprobs(const std::vector<TokenLogprob>& logprobs) {
  put(logprobs.size());
  for (const auto& entry : logprobs) {
    put(entry.token, entry.logprob, entry.top.size());
    for (const auto& [token, logprob] : entry.top) put(token, logprob);
  }
}

void EventBatch::put_usage(const Usage& usage) {
  put(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.forced_tokens, usage.blocks,
      usage.branches, usage.critical_path_tokens);
}

void EventBatch::add(const Event& event) {
  put(event.request, event.type);
  switch (event.type) {
    case Event::Type::started:
      put(event.usage.prompt_tokens, event.usage.cached_tokens);
      break;
    case Event::Type::prompt_logprobs:
      put(event.first);
      put_logprobs(event.logprobs);
      break;
    case Event::Type::delta:
      put(event.choice, event.branch, event.channel);
      put_text(event.text);
      put_tokens(event.tokens);
      put(event.forced);
      put_logprobs(event.logprobs);
      put(event.policy_logprobs.size());
      for (const float logprob : event.policy_logprobs) put(logprob);
      break;
    case Event::Type::block_opened:
      put(event.choice, event.branch, event.block, event.plans.size());
      for (const auto& [number, plan] : event.plans) {
        put_text(number);
        put_text(plan);
      }
      break;
    case Event::Type::branch_created:
      put(event.choice, event.branch, event.parent, event.block, event.index);
      put_text(event.text);
      break;
    case Event::Type::branch_completed:
      put(event.choice, event.branch, event.block, event.end, event.count);
      break;
    case Event::Type::block_joined:
      put(event.choice, event.branch, event.block);
      break;
    case Event::Type::choice_finished:
      put(event.choice, event.reason, event.stop_token, event.stop_string);
      put_usage(event.usage);
      break;
    case Event::Type::finished:
      put_usage(event.usage);
      put(event.timings.queue_ms, event.timings.prompt_ms, event.timings.total_ms, event.timings.preemptions);
      break;
    case Event::Type::failed:
      put(event.code);
      // An exception's own words, which may be in any encoding.
      put_text(text::whole_characters(event.text));
      break;
  }
}

}  // namespace npr::addon
