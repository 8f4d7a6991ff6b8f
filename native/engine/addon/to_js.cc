#include "addon/convert.h"

namespace npr::addon {

namespace {

const char* name(Event::Type type) {
  constexpr const char* names[] = {
      "started",          "prompt_logprobs", "delta",           "block_opened", "branch_created",
      "branch_completed", "block_joined",    "choice_finished", "finished",     "failed"};
  return names[static_cast<uint8_t>(type)];
}

const char* name(FinishReason reason) {
  constexpr const char* names[] = {"stop", "length", "invalid_structure", "cancelled"};
  return names[static_cast<uint8_t>(reason)];
}

const char* name(BranchEnd end) {
  constexpr const char* names[] = {"step_end", "stop", "length", "invalid_structure"};
  return names[static_cast<uint8_t>(end)];
}

Napi::Array to_js(Napi::Env env, const std::vector<int32_t>& tokens) {
  auto out = Napi::Array::New(env, tokens.size());
  for (uint32_t i = 0; i < tokens.size(); ++i) out[i] = Napi::Number::New(env, tokens[i]);
  return out;
}

Napi::Array to_js(Napi::Env env, const std::vector<TokenLogprob>& logprobs) {
  auto out = Napi::Array::New(env, logprobs.size());
  for (uint32_t i = 0; i < logprobs.size(); ++i) {
    auto entry = Napi::Object::New(env);
    entry["token"] = logprobs[i].token;
    entry["logprob"] = logprobs[i].logprob;
    auto top = Napi::Array::New(env, logprobs[i].top.size());
    for (uint32_t j = 0; j < logprobs[i].top.size(); ++j) {
      auto pair = Napi::Array::New(env, 2);
      pair[0u] = Napi::Number::New(env, logprobs[i].top[j].first);
      pair[1u] = Napi::Number::New(env, logprobs[i].top[j].second);
      top[j] = pair;
    }
    entry["top"] = top;
    out[i] = entry;
  }
  return out;
}

Napi::Object to_js(Napi::Env env, const Usage& usage) {
  auto out = Napi::Object::New(env);
  out["promptTokens"] = usage.prompt_tokens;
  out["cachedTokens"] = usage.cached_tokens;
  out["completionTokens"] = usage.completion_tokens;
  out["forcedTokens"] = usage.forced_tokens;
  out["blocks"] = usage.blocks;
  out["branches"] = usage.branches;
  out["criticalPathTokens"] = usage.critical_path_tokens;
  return out;
}

}  // namespace

const char* name(ErrorCode code) {
  constexpr const char* names[] = {"invalid_checkpoint", "invalid_request", "context_length", "queue_full",
                                   "unavailable",        "out_of_memory",   "internal"};
  return names[static_cast<uint8_t>(code)];
}

Napi::Error to_js(Napi::Env env, const Error& error) {
  auto out = Napi::Error::New(env, error.what());
  out.Set("code", Napi::String::New(env, name(error.code())));
  out.Set("at", Napi::String::New(env, std::string(error.at().file_name()) + ":" + std::to_string(error.at().line())));
  return out;
}

Napi::Object to_js(Napi::Env env, const Event& event) {
  auto out = Napi::Object::New(env);
  out["type"] = name(event.type);
  out["request"] = static_cast<double>(event.request);
  const auto in_choice = [&] {
    out["choice"] = event.choice;
    out["branch"] = event.branch;
  };
  switch (event.type) {
    case Event::Type::started:
      out["promptTokens"] = event.usage.prompt_tokens;
      out["cachedTokens"] = event.usage.cached_tokens;
      break;
    case Event::Type::prompt_logprobs:
      out["first"] = event.first;
      out["logprobs"] = to_js(env, event.logprobs);
      break;
    case Event::Type::delta:
      in_choice();
      out["channel"] = event.channel == Channel::content ? "content" : "block";
      out["text"] = event.text;
      out["tokens"] = to_js(env, event.tokens);
      out["forced"] = event.forced;
      if (!event.logprobs.empty()) out["logprobs"] = to_js(env, event.logprobs);
      break;
    case Event::Type::block_opened: {
      in_choice();
      out["block"] = event.block;
      auto plans = Napi::Array::New(env, event.plans.size());
      for (uint32_t i = 0; i < event.plans.size(); ++i) {
        auto plan = Napi::Object::New(env);
        plan["number"] = event.plans[i].first;
        plan["text"] = event.plans[i].second;
        plans[i] = plan;
      }
      out["plans"] = plans;
      break;
    }
    case Event::Type::branch_created:
      in_choice();
      out["parent"] = event.parent;
      out["block"] = event.block;
      out["index"] = event.index;
      out["number"] = event.text;
      break;
    case Event::Type::branch_completed:
      in_choice();
      out["block"] = event.block;
      out["end"] = name(event.end);
      out["tokens"] = event.count;
      break;
    case Event::Type::block_joined:
      in_choice();
      out["block"] = event.block;
      break;
    case Event::Type::choice_finished:
      out["choice"] = event.choice;
      out["reason"] = name(event.reason);
      if (event.stop_token >= 0) out["stopToken"] = event.stop_token;
      if (event.stop_string >= 0) out["stopStringIndex"] = event.stop_string;
      out["usage"] = to_js(env, event.usage);
      break;
    case Event::Type::finished: {
      out["usage"] = to_js(env, event.usage);
      auto timings = Napi::Object::New(env);
      timings["queueMs"] = event.timings.queue_ms;
      timings["promptMs"] = event.timings.prompt_ms;
      timings["totalMs"] = event.timings.total_ms;
      timings["preemptions"] = event.timings.preemptions;
      out["timings"] = timings;
      break;
    }
    case Event::Type::failed:
      out["code"] = name(event.code);
      out["message"] = event.text;
      break;
  }
  return out;
}

Napi::Object to_js(Napi::Env env, const schedule::Stats& stats) {
  auto out = Napi::Object::New(env);
  out["running"] = stats.running;
  out["waiting"] = stats.waiting;
  out["branches"] = stats.branches;
  auto slots = Napi::Object::New(env);
  slots["total"] = stats.slots;
  slots["free"] = stats.free;
  slots["cached"] = stats.cached;
  slots["used"] = stats.slots - stats.free - stats.cached;
  out["slots"] = slots;
  auto totals = Napi::Object::New(env);
  const auto put = [&](const char* key, uint64_t value) { totals[key] = static_cast<double>(value); };
  put("steps", stats.steps);
  put("promptTokens", stats.prompt_tokens);
  put("cachedTokens", stats.cached_tokens);
  put("completionTokens", stats.completion_tokens);
  put("forcedTokens", stats.forced_tokens);
  put("blocks", stats.blocks);
  put("branches", stats.forked_branches);
  put("preemptions", stats.preemptions);
  put("requests", stats.requests);
  out["totals"] = totals;
  return out;
}

}  // namespace npr::addon
