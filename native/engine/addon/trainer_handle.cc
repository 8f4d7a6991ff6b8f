#include "addon/trainer_handle.h"

#include <utility>

#include "addon/convert.h"
#include "addon/task.h"

namespace npr::addon {

namespace {

// Runs `call` and resolves with nothing.
Napi::Value run(Napi::Env env, std::function<void()> call) {
  return Task::run(env, std::move(call), [](Napi::Env env) { return env.Undefined(); });
}

// Runs `call` and resolves with its result.
template <class F>
Napi::Value run_for_result(Napi::Env env, F call) {
  auto result = std::make_shared<decltype(call())>();
  return Task::run(
      env, [=] { *result = call(); }, [=](Napi::Env env) { return to_js(env, *result); });
}

std::shared_ptr<std::vector<train::Group>> groups_of(const Napi::CallbackInfo& call, const char* usage) {
  if (call.Length() < 1 || !call[0].IsArray()) throw Napi::TypeError::New(call.Env(), usage);
  return std::make_shared<std::vector<train::Group>>(groups(call[0].As<Napi::Array>()));
}

std::string path_of(const Napi::CallbackInfo& call) {
  if (call.Length() != 1 || !call[0].IsString()) throw Napi::TypeError::New(call.Env(), "takes a path, a string");
  return call[0].As<Napi::String>().Utf8Value();
}

}  // namespace

Napi::Function TrainerHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeTrainer",
      {InstanceMethod<&TrainerHandle::accumulate>("accumulate"), InstanceMethod<&TrainerHandle::score>("score"),
       InstanceMethod<&TrainerHandle::step>("step"), InstanceMethod<&TrainerHandle::save_weights>("saveWeights"),
       InstanceMethod<&TrainerHandle::save_state>("saveState"), InstanceMethod<&TrainerHandle::load_state>("loadState"),
       InstanceMethod<&TrainerHandle::close>("close")});
}

Napi::Object TrainerHandle::make(const Napi::FunctionReference& constructor, std::shared_ptr<SeatedTrainer> trainer) {
  auto handle = constructor.New({});
  Unwrap(handle)->trainer_ = std::move(trainer);
  return handle;
}

std::shared_ptr<SeatedTrainer> TrainerHandle::trainer(Napi::Env env) const {
  if (!trainer_) throw to_js(env, Error(ErrorCode::unavailable, "the trainer is closed"));
  return trainer_;
}

Napi::Value TrainerHandle::accumulate(const Napi::CallbackInfo& call) {
  constexpr const char* usage = "accumulate(groups, loss) takes an array and an object";
  if (call.Length() != 2 || !call[1].IsObject()) throw Napi::TypeError::New(call.Env(), usage);
  return run_for_result(
      call.Env(), [at = trainer(call.Env()), groups = groups_of(call, usage), loss = loss(call[1].As<Napi::Object>())] {
        return at->trainer->accumulate(*groups, loss);
      });
}

Napi::Value TrainerHandle::score(const Napi::CallbackInfo& call) {
  return run_for_result(call.Env(),
                        [at = trainer(call.Env()), groups = groups_of(call, "score(groups) takes an array")] {
                          return at->trainer->score(*groups);
                        });
}

Napi::Value TrainerHandle::step(const Napi::CallbackInfo& call) {
  if (call.Length() != 1 || !call[0].IsNumber()) {
    throw Napi::TypeError::New(call.Env(), "step(learningRate) takes a number");
  }
  return run_for_result(call.Env(), [at = trainer(call.Env()), rate = call[0].As<Napi::Number>().DoubleValue()] {
    return at->trainer->step(rate);
  });
}

Napi::Value TrainerHandle::save_weights(const Napi::CallbackInfo& call) {
  return run(call.Env(), [at = trainer(call.Env()), path = path_of(call)] { at->trainer->save_weights(path); });
}

Napi::Value TrainerHandle::save_state(const Napi::CallbackInfo& call) {
  return run(call.Env(), [at = trainer(call.Env()), path = path_of(call)] { at->trainer->save_state(path); });
}

Napi::Value TrainerHandle::load_state(const Napi::CallbackInfo& call) {
  return run(call.Env(), [at = trainer(call.Env()), path = path_of(call)] { at->trainer->load_state(path); });
}

Napi::Value TrainerHandle::close(const Napi::CallbackInfo& call) {
  return run(call.Env(), [at = std::exchange(trainer_, nullptr)] {
    if (!at) return;
    at->trainer.reset();
    at->seat.reset();
  });
}

}  // namespace npr::addon
