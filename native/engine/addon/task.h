// Slow calls: on libuv's threads, a promise each.
#pragma once
#include <napi.h>

#include <functional>
#include <new>
#include <optional>
#include <utility>

#include "addon/convert.h"
#include "error.h"

namespace npr::addon {

// Runs `work` off the JavaScript thread and settles a promise with what `done` makes of it.
class Task : public Napi::AsyncWorker {
 public:
  using Done = std::function<Napi::Value(Napi::Env)>;

  static Napi::Promise run(Napi::Env env, std::function<void()> work, Done done) {
    auto* task = new Task(env, std::move(work), std::move(done));  // deletes itself once settled
    auto promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 private:
  Task(Napi::Env env, std::function<void()> work, Done done)
      : Napi::AsyncWorker(env), deferred_(env), work_(std::move(work)), done_(std::move(done)) {}

  void Execute() override {
    try {
      work_();
    } catch (const Error& error) {
      error_ = error;
    } catch (const std::bad_alloc&) {
      error_ = Error(ErrorCode::out_of_memory, "out of memory");
    } catch (const std::exception& error) {
      error_ = Error(ErrorCode::internal, error.what());
    }
  }

  void OnOK() override {
    if (error_) return deferred_.Reject(to_js(Env(), *error_).Value());
    try {
      deferred_.Resolve(done_(Env()));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

  Napi::Promise::Deferred deferred_;
  std::function<void()> work_;
  Done done_;
  std::optional<Error> error_;
};

}  // namespace npr::addon
