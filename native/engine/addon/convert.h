// JavaScript values to the engine's terms and back. A value of the wrong kind is a TypeError that names it.
#pragma once
#include <napi.h>

#include <filesystem>
#include <string>

#include "compute/cpu/cpu_backend.h"
#include "error.h"
#include "request.h"
#include "schedule/engine.h"
#include "text/vocabulary.h"

namespace npr::addon {

struct LoadOptions {
  std::filesystem::path model;
  compute::CpuOptions cpu;
  uint64_t kv_memory_bytes = 0;
  uint32_t max_batch_tokens = 0;
  schedule::Options schedule;
};

LoadOptions load_options(Napi::Object object);
text::Vocabulary vocabulary(Napi::Object object);
Request request(Napi::Object object);

Napi::Object to_js(Napi::Env env, const schedule::Stats& stats);

// An Error as JavaScript sees it: `code` is the ErrorCode's name.
Napi::Error to_js(Napi::Env env, const Error& error);

}  // namespace npr::addon
