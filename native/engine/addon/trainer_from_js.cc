// What training takes: options, groups and losses.
#include <array>
#include <utility>

#include "addon/convert.h"
#include "addon/fields.h"

namespace npr::addon {

namespace {

// What makes sense is the trainer's to say.
double any_number(Napi::Object object, const char* key) { return number(object, key, -1e300, 1e300); }

train::LoraTarget lora_target(Napi::Value value) {
  using enum train::LoraTarget;
  constexpr std::array<std::pair<const char*, train::LoraTarget>, 7> names{
      {{"q", q}, {"k", k}, {"v", v}, {"o", o}, {"gate", gate}, {"up", up}, {"down", down}}};
  const std::string found = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  for (const auto& [name, target] : names) {
    if (found == name) return target;
  }
  wrong(value.Env(), "targets", "made of q, k, v, o, gate, up and down");
}

train::LoraOptions lora(Napi::Object object) {
  train::LoraOptions out{.rank = count(object, "rank"),
                         .alpha = any_number(object, "alpha"),
                         .targets = {},
                         .seed = bits64(object, "seed")};
  const Napi::Array targets = array(object, "targets");
  for (uint32_t i = 0; i < targets.Length(); ++i) out.targets.push_back(lora_target(targets.Get(i)));
  return out;
}

train::Trajectory trajectory(Napi::Object object) {
  const auto floats = [&](const char* key) {
    return typed_array<Napi::Float32Array>(object, key, napi_float32_array, "a Float32Array");
  };
  train::Trajectory out;
  out.tokens = typed_array<Napi::Int32Array>(object, "tokens", napi_int32_array, "an Int32Array");
  out.weights = floats("weights");
  if (!object.Get("forced").IsUndefined()) {
    out.forced = typed_array<Napi::Uint8Array>(object, "forced", napi_uint8_array, "a Uint8Array");
  }
  if (!object.Get("oldLogprobs").IsUndefined()) out.old_logprobs = floats("oldLogprobs");
  if (!object.Get("choice").IsUndefined()) out.choice = count(object, "choice");
  return out;
}

Napi::Object object_in(Napi::Array list, uint32_t index, const char* key) {
  const Napi::Value value = list.Get(index);
  if (!value.IsObject()) wrong(list.Env(), key, "made of objects");
  return value.As<Napi::Object>();
}

}  // namespace

train::TrainerOptions trainer_options(Napi::Object object) {
  train::TrainerOptions out;
  out.optimizer.adamw = {.beta1 = any_number(object, "beta1"),
                         .beta2 = any_number(object, "beta2"),
                         .epsilon = any_number(object, "epsilon"),
                         .weight_decay = any_number(object, "weightDecay")};
  out.optimizer.clip_norm = any_number(object, "clipNorm");
  out.micro_batch_tokens = count(object, "microBatchTokens");
  const auto recompute = model::recompute_named(string(object, "recompute"));
  if (!recompute) wrong(object.Env(), "recompute", "none, mlp or layer");
  out.recompute = *recompute;
  if (!object.Get("lora").IsUndefined()) out.lora = lora(object_at(object, "lora"));
  return out;
}

std::vector<train::Group> groups(Napi::Array list) {
  std::vector<train::Group> out(list.Length());
  for (uint32_t g = 0; g < list.Length(); ++g) {
    const Napi::HandleScope scope(list.Env());
    const Napi::Object object = object_in(list, g, "groups");
    out[g].prompt = typed_array<Napi::Int32Array>(object, "prompt", napi_int32_array, "an Int32Array");
    out[g].parallel = boolean(object, "parallel");
    if (!object.Get("request").IsUndefined()) out[g].request = request(object_at(object, "request"));
    const Napi::Array trajectories = array(object, "trajectories");
    for (uint32_t t = 0; t < trajectories.Length(); ++t) {
      out[g].trajectories.push_back(trajectory(object_in(trajectories, t, "trajectories")));
    }
  }
  return out;
}

train::Loss loss(Napi::Object object) {
  const std::string kind = string(object, "kind");
  if (kind == "likelihood") return {.kind = train::Loss::Kind::likelihood};
  if (kind != "clipped") wrong(object.Env(), "kind", "likelihood or clipped");
  return {.kind = train::Loss::Kind::clipped,
          .low = real(object, "low"),
          .high = real(object, "high"),
          .dual = real(object, "dual")};
}

}  // namespace npr::addon
