#include "addon/convert.h"
#include "addon/fields.h"

namespace npr::addon {

namespace {

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
  out.seed = bits64(object, "seed");
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
  const std::string device = string(object, "device");
  if (device == "auto") {
    out.device.device = compute::Device::automatic;
  } else if (device == "cpu") {
    out.device.device = compute::Device::cpu;
  } else if (device == "cuda") {
    out.device.device = compute::Device::cuda;
  } else {
    wrong(object.Env(), "device", "auto, cpu or cuda");
  }
  compute::CpuOptions& cpu = out.device.cpu;
  const std::string weights = string(object, "weights");
  if (weights == "bf16") {
    cpu.weights = compute::WeightFormat::bf16;
  } else if (weights == "int8") {
    cpu.weights = compute::WeightFormat::int8;
  } else {
    wrong(object.Env(), "weights", "bf16 or int8");
  }
  cpu.threads = count(object, "threads");
  const std::string isa = string(object, "isa");
  if (isa == "auto") {
    cpu.isa = compute::Isa::best;
  } else if (isa == "amx") {
    cpu.isa = compute::Isa::amx;
  } else if (isa == "avx512") {
    cpu.isa = compute::Isa::avx512;
  } else if (isa == "avx2") {
    cpu.isa = compute::Isa::avx2;
  } else if (isa == "plain") {
    cpu.isa = compute::Isa::plain;
  } else {
    wrong(object.Env(), "isa", "auto, amx, avx512, avx2 or plain");
  }
  if (!object.Get("kvMemoryBytes").IsUndefined()) {
    out.kv_memory_bytes = static_cast<uint64_t>(number(object, "kvMemoryBytes", 0, 9e15));
  }
  out.max_batch_tokens = count(object, "maxBatchTokens");
  out.schedule.max_running = count(object, "maxRunning");
  out.schedule.max_waiting = count(object, "maxWaiting");
  out.schedule.prefix_cache = boolean(object, "prefixCache");
  return out;
}

text::Vocabulary vocabulary(Napi::Object object) {
  text::Vocabulary out;
  out.bytes = typed_array<Napi::Uint8Array>(object, "bytes", napi_uint8_array, "a Uint8Array");
  out.offsets = typed_array<Napi::Uint32Array>(object, "offsets", napi_uint32_array, "a Uint32Array");
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
