#include <algorithm>

#include "addon/convert.h"

namespace npr::addon {

namespace {

const char* name(ErrorCode code) {
  constexpr const char* names[] = {"invalid_checkpoint", "invalid_request", "context_length", "queue_full",
                                   "unavailable",        "out_of_memory",   "internal"};
  return names[static_cast<uint8_t>(code)];
}

}  // namespace

Napi::Error to_js(Napi::Env env, const Error& error) {
  auto out = Napi::Error::New(env, error.what());
  out.Set("code", Napi::String::New(env, name(error.code())));
  out.Set("at", Napi::String::New(env, std::string(error.at().file_name()) + ":" + std::to_string(error.at().line())));
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

Napi::Object to_js(Napi::Env env, const train::PassResult& result) {
  auto out = Napi::Object::New(env);
  const auto put = [&](const char* key, auto value) { out[key] = static_cast<double>(value); };
  put("loss", result.loss);
  put("tokens", result.tokens);
  put("rows", result.rows);
  put("savedRows", result.saved_rows);
  put("entropy", result.entropy);
  put("clipped", result.clipped);
  put("mismatch", result.mismatch);
  put("forwardMs", result.forward_ms);
  put("backwardMs", result.backward_ms);
  auto logprobs = Napi::Array::New(env, result.logprobs.size());
  for (uint32_t i = 0; i < result.logprobs.size(); ++i) {
    auto numbers = Napi::Float32Array::New(env, result.logprobs[i].size());
    std::ranges::copy(result.logprobs[i], numbers.Data());
    logprobs[i] = numbers;
  }
  out["logprobs"] = logprobs;
  return out;
}

Napi::Object to_js(Napi::Env env, const train::StepResult& result) {
  auto out = Napi::Object::New(env);
  out["gradientNorm"] = result.report.gradient_norm;
  out["applied"] = result.report.applied;
  out["updateMs"] = result.update_ms;
  return out;
}

}  // namespace npr::addon
