#include "addon/convert.h"

namespace npr::addon {

namespace {

[[noreturn]] void wrong(Napi::Env env, const std::string& key, const char* expected) {
  throw Napi::TypeError::New(env, key + " should be " + expected);
}

double number(Napi::Object object, const char* key, double least, double most) {
  const Napi::Value value = object.Get(key);
  if (!value.IsNumber()) wrong(object.Env(), key, "a number");
  const double found = value.As<Napi::Number>().DoubleValue();
  if (!(found >= least && found <= most)) wrong(object.Env(), key, "a number in its range");
  return found;
}

uint32_t count(Napi::Object object, const char* key) {
  return static_cast<uint32_t>(number(object, key, 0, 4294967295.0));
}

float real(Napi::Object object, const char* key) { return static_cast<float>(number(object, key, -1e30, 1e30)); }

bool boolean(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsBoolean()) wrong(object.Env(), key, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string string(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) wrong(object.Env(), key, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Array array(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsArray()) wrong(object.Env(), key, "an array");
  return value.As<Napi::Array>();
}

int32_t token(Napi::Value value, const char* key) {
  if (!value.IsNumber()) wrong(value.Env(), key, "made of token ids");
  const double found = value.As<Napi::Number>().DoubleValue();
  if (!(found >= 0 && found <= 2147483647.0)) wrong(value.Env(), key, "made of token ids");
  return static_cast<int32_t>(found);
}

std::vector<int32_t> tokens(Napi::Object object, const char* key) {
  const Napi::Array list = array(object, key);
  std::vector<int32_t> out(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) out[i] = token(list.Get(i), key);
  return out;
}

Napi::Object object_at(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsObject()) wrong(object.Env(), key, "an object");
  return value.As<Napi::Object>();
}

sample::Params sampling(Napi::Object object) {
  sample::Params out;
  out.temperature = real(object, "temperature");
  out.top_p = real(object, "topP");
  out.top_k = count(object, "topK");
  out.min_p = real(object, "minP");
  out.repetition_penalty = real(object, "repetitionPenalty");
  out.presence_penalty = real(object, "presencePenalty");
  out.frequency_penalty = real(object, "frequencyPenalty");
  out.branch_repetition_penalty = real(object, "branchRepetitionPenalty");
  const Napi::Array bias = array(object, "logitBias");
  for (uint32_t i = 0; i < bias.Length(); ++i) {
    const Napi::Value pair = bias.Get(i);
    if (!pair.IsArray() || pair.As<Napi::Array>().Length() != 2) wrong(object.Env(), "logitBias", "made of pairs");
    const Napi::Value amount = pair.As<Napi::Array>().Get(1u);
    if (!amount.IsNumber()) wrong(object.Env(), "logitBias", "made of [token, number]");
    out.logit_bias.emplace_back(token(pair.As<Napi::Array>().Get(0u), "logitBias"),
                                amount.As<Napi::Number>().FloatValue());
  }
  const Napi::Value seed = object.Get("seed");
  if (!seed.IsBigInt()) wrong(object.Env(), "seed", "a bigint");
  bool lossless = false;
  out.seed = seed.As<Napi::BigInt>().Uint64Value(&lossless);
  return out;
}

ParallelOptions parallel(Napi::Object object) {
  ParallelOptions out;
  out.enabled = true;
  out.max_branches = count(object, "maxBranches");
  out.max_depth = count(object, "maxDepth");
  out.max_branch_tokens = count(object, "maxBranchTokens");
  const std::string policy = string(object, "onInvalid");
  if (policy == "constrain") {
    out.on_invalid = OnInvalid::constrain;
  } else if (policy == "stop") {
    out.on_invalid = OnInvalid::stop;
  } else if (policy == "ignore") {
    out.on_invalid = OnInvalid::ignore;
  } else {
    wrong(object.Env(), "onInvalid", "constrain, stop or ignore");
  }
  return out;
}

}  // namespace

Request request(Napi::Object object) {
  Request out;
  out.prompt = tokens(object, "prompt");
  out.n = count(object, "n");
  out.max_tokens = count(object, "maxTokens");
  out.min_tokens = count(object, "minTokens");
  out.ignore_eos = boolean(object, "ignoreEos");
  const Napi::Array stop = array(object, "stop");
  for (uint32_t i = 0; i < stop.Length(); ++i) {
    const Napi::Value text = stop.Get(i);
    if (!text.IsString()) wrong(object.Env(), "stop", "made of strings");
    out.stop.push_back(text.As<Napi::String>().Utf8Value());
  }
  out.stop_token_ids = tokens(object, "stopTokenIds");
  if (!object.Get("logprobs").IsUndefined()) out.logprobs = static_cast<int32_t>(number(object, "logprobs", 0, 1000));
  if (!object.Get("promptLogprobs").IsUndefined()) {
    out.prompt_logprobs = static_cast<int32_t>(number(object, "promptLogprobs", 0, 1000));
  }
  if (!object.Get("policyLogprobs").IsUndefined()) out.policy_logprobs = boolean(object, "policyLogprobs");
  out.sampling = sampling(object_at(object, "sampling"));
  if (!object.Get("parallel").IsUndefined()) out.parallel = parallel(object_at(object, "parallel"));
  return out;
}

LoadOptions load_options(Napi::Object object) {
  LoadOptions out;
  out.model = string(object, "model");
  if (string(object, "device") != "cpu") wrong(object.Env(), "device", "cpu");
  const std::string weights = string(object, "weights");
  if (weights == "bf16") {
    out.cpu.weights = compute::WeightFormat::bf16;
  } else if (weights == "int8") {
    out.cpu.weights = compute::WeightFormat::int8;
  } else {
    wrong(object.Env(), "weights", "bf16 or int8");
  }
  out.cpu.threads = count(object, "threads");
  const std::string isa = string(object, "isa");
  if (isa == "auto") {
    out.cpu.isa = compute::Isa::best;
  } else if (isa == "avx512") {
    out.cpu.isa = compute::Isa::avx512;
  } else if (isa == "avx2") {
    out.cpu.isa = compute::Isa::avx2;
  } else if (isa == "plain") {
    out.cpu.isa = compute::Isa::plain;
  } else {
    wrong(object.Env(), "isa", "auto, avx512, avx2 or plain");
  }
  out.kv_memory_bytes = static_cast<uint64_t>(number(object, "kvMemoryBytes", 0, 9e15));
  out.max_batch_tokens = count(object, "maxBatchTokens");
  out.schedule.max_running = count(object, "maxRunning");
  out.schedule.max_waiting = count(object, "maxWaiting");
  out.schedule.prefix_cache = boolean(object, "prefixCache");
  return out;
}

text::Vocabulary vocabulary(Napi::Object object) {
  text::Vocabulary out;
  const Napi::Value bytes = object.Get("bytes"), offsets = object.Get("offsets");
  if (!bytes.IsTypedArray() || bytes.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    wrong(object.Env(), "bytes", "a Uint8Array");
  }
  if (!offsets.IsTypedArray() || offsets.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    wrong(object.Env(), "offsets", "a Uint32Array");
  }
  const auto b = bytes.As<Napi::Uint8Array>();
  const auto o = offsets.As<Napi::Uint32Array>();
  out.bytes.assign(b.Data(), b.Data() + b.ElementLength());
  out.offsets.assign(o.Data(), o.Data() + o.ElementLength());
  for (size_t i = 0; i < out.offsets.size(); ++i) {
    if (out.offsets[i] > out.bytes.size() || (i && out.offsets[i] < out.offsets[i - 1])) {
      wrong(object.Env(), "offsets", "ascending and within bytes");
    }
  }
  out.end_tokens = tokens(object, "endTokens");
  if (!object.Get("tags").IsUndefined()) {
    const Napi::Object tags = object_at(object, "tags");
    const auto tag = [&](const char* key) { return token(tags.Get(key), key); };
    out.tags = text::Tags{tag("guideline"), tag("guidelineEnd"), tag("plan"),     tag("planEnd"),
                          tag("step"),      tag("stepEnd"),      tag("takeaway"), tag("takeawayEnd")};
  }
  out.turn_head = tokens(object, "turnHead");
  out.turn_end = static_cast<int32_t>(number(object, "turnEnd", -1, 2147483647.0));
  out.newline = tokens(object, "newline");
  out.colon = tokens(object, "colon");
  const Napi::Object digits = object_at(object, "digits");
  for (size_t i = 0; i < out.digits.size(); ++i) out.digits[i] = tokens(digits, std::to_string(i).c_str());
  out.dot = tokens(digits, ".");
  return out;
}

}  // namespace npr::addon
