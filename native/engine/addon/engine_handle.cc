// The engine as a JavaScript object. Slow calls (load, close, checkIntegrity) run on libuv's threads and return
// promises; events reach JavaScript as one batch a wake-up, which holds one engine step or, where JavaScript was busy,
// several.
#include <napi.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "addon/convert.h"
#include "addon/event_batch.h"
#include "addon/task.h"
#include "addon/trainer_handle.h"
#include "model/checkpoint.h"
#include "model/model.h"
#include "model/tensors.h"

namespace npr::addon {

namespace {

// Carries events from the engine's thread to JavaScript. Shared, since the engine may outlive the JavaScript object by
// the length of a close(). Thread safety: post() and close() may be called from any thread.
class Mailbox {
 public:
  Mailbox(Napi::Env env, Napi::Function listener)
      : wake_(Napi::ThreadSafeFunction::New(env, listener, "npr-serve events", 0, 1)) {}

  // Under the lock throughout: once closed, the thread-safe function may be gone.
  void post(const std::vector<Event>& events, const std::shared_ptr<Mailbox>& self) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const bool idle = batch_.numbers.empty();
    for (const Event& event : events) batch_.add(event);
    if (!idle) return;  // a wake-up is on its way
    wake_.NonBlockingCall([self](Napi::Env env, Napi::Function listener) { self->deliver(env, listener); });
  }

  void close() {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(closed_, true)) wake_.Release();
  }

  // The environment ends (a worker is terminated, the process exits) and takes the thread-safe function along, while
  // the engine may still run.
  void abandon() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  void deliver(Napi::Env env, Napi::Function listener) {
    EventBatch batch;
    {
      const std::lock_guard lock(mutex_);
      std::swap(batch, batch_);
    }
    const Napi::HandleScope scope(env);
    auto numbers = Napi::Float64Array::New(env, batch.numbers.size());
    std::ranges::copy(batch.numbers, numbers.Data());
    listener.Call({numbers, Napi::String::New(env, batch.text)});
  }

  Napi::ThreadSafeFunction wake_;
  std::mutex mutex_;
  EventBatch batch_;
  bool closed_ = false;
};

// The constructors of an environment's objects.
struct Classes {
  Napi::FunctionReference engine, trainer;
};

class EngineHandle : public Napi::ObjectWrap<EngineHandle> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeEngine",
                       {InstanceMethod<&EngineHandle::info>("info"), InstanceMethod<&EngineHandle::submit>("submit"),
                        InstanceMethod<&EngineHandle::cancel>("cancel"), InstanceMethod<&EngineHandle::stats>("stats"),
                        InstanceMethod<&EngineHandle::trainer>("trainer"),
                        InstanceMethod<&EngineHandle::check_integrity>("checkIntegrity"),
                        InstanceMethod<&EngineHandle::close>("close")});
  }

  explicit EngineHandle(const Napi::CallbackInfo& call) : Napi::ObjectWrap<EngineHandle>(call) {}
  ~EngineHandle() override {
    engine_.reset();
    if (mailbox_) mailbox_->close();
  }

  void adopt(std::shared_ptr<schedule::Engine> engine, std::shared_ptr<Mailbox> mailbox) {
    engine_ = std::move(engine);
    mailbox_ = std::move(mailbox);
  }

 private:
  schedule::Engine& engine(Napi::Env env) {
    if (!engine_) throw to_js(env, Error(ErrorCode::unavailable, "the engine is closed"));
    return *engine_;
  }

  Napi::Value info(const Napi::CallbackInfo& call) {
    const auto& running = engine(call.Env());
    auto out = Napi::Object::New(call.Env());
    out["vocabSize"] = running.config().vocab_size;
    out["maxPositions"] = running.config().max_position_embeddings;
    out["slots"] = running.slots();
    out["backend"] = running.description();
    out["parameters"] = static_cast<double>(model::parameter_count(running.config()));
    return out;
  }

  Napi::Value submit(const Napi::CallbackInfo& call) {
    if (call.Length() != 2 || !call[0].IsNumber() || !call[1].IsObject()) {
      throw Napi::TypeError::New(call.Env(), "submit(id, request) takes a number and an object");
    }
    Request parsed = request(call[1].As<Napi::Object>());
    parsed.id = static_cast<RequestId>(call[0].As<Napi::Number>().Int64Value());
    try {
      engine(call.Env()).submit(std::move(parsed));
    } catch (const Error& error) {
      throw to_js(call.Env(), error);
    }
    return call.Env().Undefined();
  }

  Napi::Value cancel(const Napi::CallbackInfo& call) {
    if (call.Length() != 1 || !call[0].IsNumber()) throw Napi::TypeError::New(call.Env(), "cancel(id) takes a number");
    if (engine_) engine_->cancel(static_cast<RequestId>(call[0].As<Napi::Number>().Int64Value()));
    return call.Env().Undefined();
  }

  Napi::Value stats(const Napi::CallbackInfo& call) { return to_js(call.Env(), engine(call.Env()).stats()); }

  Napi::Value trainer(const Napi::CallbackInfo& call) {
    if (call.Length() != 1 || !call[0].IsObject()) {
      throw Napi::TypeError::New(call.Env(), "trainer(options) takes an object");
    }
    const auto options = trainer_options(call[0].As<Napi::Object>());
    engine(call.Env());
    if (!seat_.expired()) {
      throw to_js(call.Env(), Error(ErrorCode::invalid_request, "the engine has a trainer; close that one first"));
    }
    auto made = std::make_shared<SeatedTrainer>();
    seat_ = made->seat;
    return Task::run(
        call.Env(), [=, engine = engine_] { made->trainer = std::make_unique<train::Trainer>(engine, options); },
        [=](Napi::Env env) { return TrainerHandle::make(env.GetInstanceData<Classes>()->trainer, made); });
  }

  Napi::Value check_integrity(const Napi::CallbackInfo& call) {
    engine(call.Env());
    return Task::run(
        call.Env(), [engine = engine_] { engine->check_integrity(); }, [](Napi::Env env) { return env.Undefined(); });
  }

  Napi::Value close(const Napi::CallbackInfo& call) {
    return Task::run(
        call.Env(),
        [engine = std::move(engine_)] {
          if (engine) engine->close();
        },
        [mailbox = std::move(mailbox_)](Napi::Env env) {
          if (mailbox) mailbox->close();
          return env.Undefined();
        });
  }

  std::shared_ptr<schedule::Engine> engine_;
  std::shared_ptr<Mailbox> mailbox_;
  std::weak_ptr<void> seat_;  // taken as long as there is a trainer
};

// load(options, vocabulary, onProgress(done, total), onEvents(numbers, text)): Promise<NativeEngine>
Napi::Value load(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  if (call.Length() != 4 || !call[0].IsObject() || !call[1].IsObject() || !call[2].IsFunction() ||
      !call[3].IsFunction()) {
    throw Napi::TypeError::New(env,
                               "load(options, vocabulary, onProgress, onEvents) takes two objects and two functions");
  }
  const auto options = load_options(call[0].As<Napi::Object>());
  auto words = std::make_shared<text::Vocabulary>(vocabulary(call[1].As<Napi::Object>()));
  auto progress = std::make_shared<Napi::ThreadSafeFunction>(
      Napi::ThreadSafeFunction::New(env, call[2].As<Napi::Function>(), "npr-serve progress", 0, 1));
  auto mailbox = std::make_shared<Mailbox>(env, call[3].As<Napi::Function>());
  env.AddCleanupHook([mailbox] { mailbox->abandon(); });
  auto engine = std::make_shared<std::shared_ptr<schedule::Engine>>();

  const auto work = [=] {
    try {
      const model::Checkpoint checkpoint(options.model);
      auto model =
          std::make_unique<model::Model>(checkpoint, compute::make_backend(options.device), options.kv_memory_bytes,
                                         options.max_batch_tokens, [&](uint64_t done, uint64_t total) {
                                           progress->NonBlockingCall([=](Napi::Env env, Napi::Function listener) {
                                             listener.Call({Napi::Number::New(env, static_cast<double>(done)),
                                                            Napi::Number::New(env, static_cast<double>(total))});
                                           });
                                         });
      *engine = std::make_shared<schedule::Engine>(
          std::move(model), std::move(*words), options.schedule,
          [mailbox](const std::vector<Event>& events) { mailbox->post(events, mailbox); });
      (*engine)->start();
    } catch (...) {
      progress->Release();
      mailbox->close();
      throw;
    }
    progress->Release();
  };
  return Task::run(env, work, [=](Napi::Env env) {
    auto handle = env.GetInstanceData<Classes>()->engine.New({});
    EngineHandle::Unwrap(handle)->adopt(*engine, mailbox);
    return handle;
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Owned by the environment from now on.
  env.SetInstanceData(
      new Classes{Napi::Persistent(EngineHandle::define(env)), Napi::Persistent(TrainerHandle::define(env))});
  exports["load"] = Napi::Function::New(env, load, "load");
  return exports;
}

}  // namespace

NODE_API_MODULE(npr_addon, init)

}  // namespace npr::addon
