// The step around the model, one JSON object a line on standard output, times in microseconds.
//   step_bench [ROUNDS]
// "step" lines: steps in which 64 branches decode, in several arrangements; medians over the steps of a round.
//   backend "stub" computes nothing: what remains is this engine's own. "cpu" computes a random model of the tiny
//   shape. schedule: until the model has its batch; sample: logits to tokens; events: until the caller has them.
// "fork" and "join" lines: what the two steps in which 16 branches fork (and likewise join) take beyond ordinary ones,
//   over a trunk of 32k tokens that came as one prompt, or was decoded beside another so that it lies in pieces of 16.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "common/prompted_backend.h"
#include "common/tagged_vocabulary.h"
#include "compute/cpu/cpu_backend.h"
#include "model/checkpoint.h"
#include "model/model_directory.h"
#include "schedule/engine.h"
#include "schedule/stub_backend.h"

namespace {

using namespace npr;
using namespace npr::bench;

// In the middle, as the cost of a draw is by the place of what it falls on.
constexpr Word letter{512};

struct Times {
  double schedule = 0, sample = 0, events = 0, step = 0;
  double around() const { return schedule + sample + events; }
};

double middle(std::vector<double> values, double share = 0.5) {
  const auto at = values.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, at);
  return *at;
}

template <class Part>
double middle(const std::vector<Times>& all, Part part, double share = 0.5) {
  std::vector<double> values;
  for (const Times& times : all) values.push_back(std::invoke(part, times));
  return middle(std::move(values), share);
}

// Thread safety: one thread at a time.
class Stepper {
 public:
  Stepper(const model::Checkpoint& checkpoint, std::unique_ptr<compute::Backend> inner, uint32_t slots) {
    auto backend = std::make_unique<PromptedBackend>(std::move(inner), checkpoint.config().vocab_size);
    backend_ = backend.get();
    const uint64_t kv_bytes = slots * checkpoint.config().kv_shape().slot_bytes();
    auto model = std::make_unique<model::Model>(checkpoint, std::move(backend), kv_bytes, 2048);
    auto words = tagged_vocabulary(model->config().vocab_size);
    engine_ =
        std::make_unique<schedule::Engine>(std::move(model), std::move(words), schedule::Options{},
                                           [this](std::vector<Event>&& events) { received_ = std::move(events); });
  }

  RequestId submit(std::vector<int32_t> prompt, uint32_t max_tokens, uint32_t n = 1) {
    Request request;
    request.id = ++last_id_;
    request.prompt = std::move(prompt);
    request.n = n;
    request.max_tokens = max_tokens;
    request.sampling.seed = request.id;
    request.parallel.enabled = true;
    request.parallel.max_branches = 32;
    engine_->submit(std::move(request));
    return last_id_;
  }
  void cancel(RequestId id) { engine_->cancel(id); }

  // A step in which every branch samples `token`.
  Times step(int32_t token = letter) {
    using Clock = PromptedBackend::Clock;
    const auto us = [](Clock::time_point from, Clock::time_point to) {
      return std::chrono::duration<double, std::micro>(to - from).count();
    };
    backend_->favourite = token;
    const auto start = Clock::now();
    engine_->step();
    const auto end = Clock::now();
    for (const Event& event : received_) {
      if (event.type == Event::Type::failed) throw Error(event.code, event.text);
    }
    return {us(start, backend_->begun), us(backend_->sampling, backend_->sampled), us(backend_->sampled, end),
            us(start, end)};
  }
  std::vector<Times> steps(uint32_t count) {
    std::vector<Times> all;
    for (uint32_t i = 0; i < count; ++i) all.push_back(step());
    return all;
  }
  void until_branches(uint32_t count, int32_t token = letter) {
    while (engine_->stats().branches != count) step(token);
  }
  void finish_all() {
    while (last_finished_ < last_id_) cancel(++last_finished_);
    while (engine_->step()) {
    }
  }

 private:
  std::vector<Event> received_;
  PromptedBackend* backend_;
  std::unique_ptr<schedule::Engine> engine_;
  RequestId last_id_ = 0, last_finished_ = 0;
};

// An assistant's turn after `tokens` of conversation, which has written the plans of a block if there are any.
std::vector<int32_t> prompt(uint32_t tokens, int32_t first, uint32_t plans = 0) {
  std::vector<int32_t> out(tokens, letter);
  out.front() = first;
  out.push_back(head);
  if (plans) out.push_back(guideline);
  for (uint32_t i = 0; i < plans; ++i) out.insert(out.end(), {plan, letter, plan_end});
  return out;
}

struct Arrangement {
  const char* name;
  uint32_t requests, n;
  uint32_t plans;  // that the prompt has written
  int32_t next;    // what comes after it
};

void measure_steps(const char* backend, Stepper& stepper, uint32_t round, uint32_t count) {
  for (const auto& [name, requests, n, plans, next] : {Arrangement{"64 requests", 64, 1, 0, letter},
                                                       {"one request, n = 64", 1, 64, 0, letter},
                                                       {"4 requests of 16 branches", 4, 1, 16, guideline_end},
                                                       {"64 requests in their 17th plan", 64, 1, 16, plan}}) {
    const uint32_t tokens = 2 * (count + 50) * (next == guideline_end ? plans : 1);
    for (uint32_t i = 0; i < requests; ++i) {
      stepper.submit(prompt(200, digits + static_cast<int32_t>(i), plans), tokens, n);
    }
    stepper.until_branches(64, next);
    stepper.steps(16);
    const auto all = stepper.steps(count);
    std::printf(
        "{\"type\": \"step\", \"round\": %u, \"backend\": \"%s\", \"branches\": \"%s\", \"schedule\": %.1f, "
        "\"sample\": %.1f, \"events\": %.1f, \"around\": %.1f, \"around_p95\": %.1f, \"step\": %.1f}\n",
        round, backend, name, middle(all, &Times::schedule), middle(all, &Times::sample), middle(all, &Times::events),
        middle(all, &Times::around), middle(all, &Times::around, 0.95), middle(all, &Times::step));
    std::fflush(stdout);
    stepper.finish_all();
  }
}

// Forks 16 branches and joins them again, many times, on the trunk that the one running request has.
void measure_forks(const char* trunk, Stepper& stepper, uint32_t round) {
  std::vector<double> one, sixteen, forks, joins;
  const auto ordinary = [&](std::vector<double>& into) {
    stepper.steps(4);
    const double us = middle(stepper.steps(16), &Times::around);
    into.push_back(us);
    return us;
  };
  for (uint32_t cycle = 0; cycle < 20; ++cycle) {
    stepper.step(guideline);
    for (uint32_t i = 0; i < 16; ++i) {
      for (const int32_t token : {plan, letter, plan_end}) stepper.step(token);
    }
    const double fork = stepper.step(guideline_end).around() + stepper.step().around();
    const double many = ordinary(sixteen);
    const double join = stepper.step(step_end).around() + stepper.step().around();
    stepper.step(takeaway_end);
    const double few = ordinary(one);
    forks.push_back(fork - few - many);
    joins.push_back(join - few - many);
  }
  const auto print = [&](const char* type, const std::vector<double>& us) {
    std::printf(
        "{\"type\": \"%s\", \"round\": %u, \"trunk\": \"%s\", \"us\": %.1f, \"us_p95\": %.1f, "
        "\"step_of_one\": %.1f, \"step_of_16\": %.1f}\n",
        type, round, trunk, middle(us), middle(us, 0.95), middle(one), middle(sixteen));
  };
  print("fork", forks);
  print("join", joins);
  std::fflush(stdout);
  stepper.finish_all();
}

void run(uint32_t rounds) {
  constexpr uint32_t trunk = 32768, most = 7000;
  const test::TemporaryDirectory directory;
  model::write_random_checkpoint(directory.path(), model::qwen3_tiny(), 1);
  const model::Checkpoint checkpoint(directory.path());
  Stepper stub(checkpoint, std::make_unique<test::StubBackend>(), 8 * trunk);
  Stepper cpu(checkpoint, compute::make_cpu_backend({.threads = std::thread::hardware_concurrency()}), trunk);
  for (uint32_t round = 0; round < rounds; ++round) {
    measure_steps("stub", stub, round, 500);
    measure_steps("cpu", cpu, round, 100);

    stub.submit(prompt(trunk, digits + static_cast<int32_t>(round)), most);
    stub.until_branches(1);
    measure_forks("prompt", stub, round);

    stub.submit(prompt(16, letter), trunk + most);
    const RequestId neighbour = stub.submit(prompt(16, newline), trunk + most);
    stub.steps(trunk);
    stub.cancel(neighbour);
    stub.until_branches(1);
    measure_forks("pieces", stub, round);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? static_cast<uint32_t>(std::stoul(argv[1])) : 5);
  } catch (const std::exception& error) {
    std::cerr << "step_bench: " << error.what() << "\n";
    return 1;
  }
}
