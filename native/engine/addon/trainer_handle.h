// The trainer as a JavaScript object. Every call runs on one of libuv's threads and returns a promise; the caller waits
// for each before the next.
#pragma once
#include <napi.h>

#include <memory>

#include "train/trainer.h"

namespace npr::addon {

// A trainer, and the place that it takes at its engine.
struct SeatedTrainer {
  std::unique_ptr<train::Trainer> trainer;
  std::shared_ptr<void> seat = std::make_shared<int>();
};

class TrainerHandle : public Napi::ObjectWrap<TrainerHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object make(const Napi::FunctionReference& constructor, std::shared_ptr<SeatedTrainer> trainer);

  explicit TrainerHandle(const Napi::CallbackInfo& call) : Napi::ObjectWrap<TrainerHandle>(call) {}

 private:
  std::shared_ptr<SeatedTrainer> trainer(Napi::Env env) const;

  Napi::Value accumulate(const Napi::CallbackInfo& call);
  Napi::Value score(const Napi::CallbackInfo& call);
  Napi::Value step(const Napi::CallbackInfo& call);
  Napi::Value save_weights(const Napi::CallbackInfo& call);
  Napi::Value save_state(const Napi::CallbackInfo& call);
  Napi::Value load_state(const Napi::CallbackInfo& call);
  Napi::Value close(const Napi::CallbackInfo& call);

  std::shared_ptr<SeatedTrainer> trainer_;  // null once closed
};

}  // namespace npr::addon
