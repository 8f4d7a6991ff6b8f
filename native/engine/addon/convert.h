// JavaScript values to the engine's terms and back. A value of the wrong kind is a TypeError that names it.
#pragma once
#include <napi.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compute/device.h"
#include "error.h"
#include "request.h"
#include "schedule/engine.h"
#include "text/vocabulary.h"
#include "train/trainer.h"

namespace npr::addon {

struct LoadOptions {
  std::filesystem::path model;
  compute::DeviceOptions device;
  std::optional<uint64_t> kv_memory_bytes;  // none: as much as suits the device
  uint32_t max_batch_tokens = 0;
  schedule::Options schedule;
};

LoadOptions load_options(Napi::Object object);
text::Vocabulary vocabulary(Napi::Object object);
Request request(Napi::Object object);
train::TrainerOptions trainer_options(Napi::Object object);
std::vector<train::Group> groups(Napi::Array list);
train::Loss loss(Napi::Object object);

Napi::Object to_js(Napi::Env env, const schedule::Stats& stats);
Napi::Object to_js(Napi::Env env, const train::PassResult& result);
Napi::Object to_js(Napi::Env env, const train::StepResult& result);

// An Error as JavaScript sees it: `code` is the ErrorCode's name.
Napi::Error to_js(Napi::Env env, const Error& error);

}  // namespace npr::addon
