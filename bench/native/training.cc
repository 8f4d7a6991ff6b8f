// Forward, backward and optimizer step of training, without Node: one JSON object a line on standard output.
//   training_bench DIR [--device cpu|cuda] [--threads N] [--isa amx|avx512|avx2|plain] [--rounds N] [--tokens N,N]
//                      [--branches N] [--recompute none|mlp|layer]
// A sequence is a prompt, a block of so many branches, and what follows it; the loss is over all but the prompt.
// peers/torch/training.py does the same work.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common/block_answer.h"
#include "common/machine_limits.h"
#include "common/options.h"
#include "common/peak_memory.h"
#include "model/checkpoint.h"
#include "model/tensors.h"
#include "schedule/engine.h"
#include "train/trainer.h"
#ifdef NPR_WITH_CUDA
#include "common/device_limits.h"
#endif

namespace {

using namespace npr;
using namespace npr::bench;

// Weights in bf16; gradients, masters and two moments in fp32.
constexpr double state_bytes = 2 + 4 + 4 + 8;

// Multiplications and additions of the products that a token takes part in, forward and backward (three times the
// forward's), and of the attention that is visible; what is computed again does not count.
double flops_of(const model::Config& config, double rows, double loss_rows, double pairs) {
  const double hidden = config.hidden_size, q = config.q_size(), kv = config.kv_size();
  const double layer = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * config.intermediate_size;
  return 6 * (rows * layer * config.num_hidden_layers + loss_rows * hidden * config.vocab_size) +
         3 * 4 * pairs * q * config.num_hidden_layers;
}

// Waits for what a device has still to do, so that the clock sees it.
void finish(schedule::Engine& engine) {
  engine.exclusive([](model::Model& model) {
    const auto one = model.backend().allocate(sizeof(float));
    model.backend().host(static_cast<const float*>(one.get()), 1);
  });
}

template <class Work>
double seconds(schedule::Engine& engine, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  finish(engine);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Bytes in use at most so far: a device's memory is held until its last user goes.
uint64_t memory(const compute::DeviceOptions& device) {
#ifdef NPR_WITH_CUDA
  if (device.device == compute::Device::cuda) return device_memory_used();
#endif
  (void)device;
  return peak_resident();
}

std::shared_ptr<schedule::Engine> make_engine(const char* directory, const compute::DeviceOptions& device,
                                              uint32_t tokens) {
  const model::Checkpoint checkpoint(directory);
  const uint64_t kv_bytes = (tokens + 16) * checkpoint.config().kv_shape().slot_bytes();
  auto model = std::make_unique<model::Model>(checkpoint, compute::make_backend(device), kv_bytes, 16);
  auto vocabulary = tagged_vocabulary(model->config().vocab_size);
  return std::make_shared<schedule::Engine>(std::move(model), std::move(vocabulary), schedule::Options{},
                                            [](std::vector<Event>&&) {});
}

void measure(schedule::Engine& engine, train::Trainer& trainer, const compute::DeviceOptions& device, uint32_t round,
             uint32_t tokens, uint32_t branches, const Limits& limits) {
  const model::Config& config = engine.config();
  const BlockAnswer sequence = block_answer(config.vocab_size, tokens, branches);
  const size_t answer = sequence.answer.size();
  train::Trajectory trajectory;
  trajectory.tokens = sequence.answer;
  trajectory.weights.assign(answer, 1.0f / static_cast<float>(answer));
  const std::vector<train::Group> groups{
      {.prompt = sequence.prompt, .trajectories = {trajectory}, .request = {}, .parallel = true}};
  const double pairs = visible_pairs(sequence, engine.lexicon().vocabulary());
  const double flops = flops_of(config, tokens, static_cast<double>(answer), pairs);
  double loss = 0;
  reset_peak_resident();
  const double score = seconds(engine, [&] { trainer.score(groups); });
  const double pass = seconds(engine, [&] { loss = trainer.accumulate(groups, {}).loss; });
  const double update = seconds(engine, [&] { trainer.step(1e-6); });
  const auto parameters = static_cast<double>(model::parameter_count(config));
  // Masters, moments and gradients are read, and the first three written.
  const double limit_update = 28 * parameters / limits.bytes_per_second;
  const auto used = static_cast<double>(memory(device));
  std::printf(
      "{\"type\": \"train\", \"round\": %u, \"tokens\": %u, \"branches\": %u, \"visible_pairs\": %.0f, "
      "\"tokens_per_second\": %.6g, \"limit_tokens_per_second\": %.6g, \"forward_s\": %.4g, \"forward_backward_s\": "
      "%.4g, \"flops_per_second\": %.6g, \"update_s\": %.4g, \"limit_update_s\": %.4g, \"memory_bytes\": %.0f, "
      "\"beyond_states_bytes\": %.0f, \"loss\": %.6g}\n",
      round, tokens, branches, pairs, tokens / pass, tokens * limits.flops_per_second / flops, score, pass,
      flops / pass, update, limit_update, used, used - state_bytes * parameters, loss);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: training_bench DIR [--option value]...\n";
    return 2;
  }
  try {
    const Options options(argc, argv, 2,
                          {{"--device", "cpu"},
                           {"--threads", "0"},
                           {"--isa", "auto"},
                           {"--rounds", "3"},
                           {"--tokens", "1024,4096"},
                           {"--branches", "4"},
                           {"--recompute", "none"}});
    const auto recompute = model::recompute_named(options.text("--recompute"));
    if (!recompute) throw Error(ErrorCode::invalid_request, "--recompute: expected none, mlp or layer");
    const auto lengths = options.list<uint32_t>("--tokens");
    const uint32_t longest = *std::ranges::max_element(lengths);
    const auto device = options.device();
    const auto engine = make_engine(argv[1], device, longest);
    train::Trainer trainer(engine,
                           {.optimizer = {}, .lora = {}, .micro_batch_tokens = longest, .recompute = *recompute});
    std::printf("{\"type\": \"model\", \"backend\": \"%s\", \"threads\": %u, \"parameters\": %llu}\n",
                engine->description().c_str(), device.cpu.threads,
                static_cast<unsigned long long>(model::parameter_count(engine->config())));
    for (uint32_t round = 0; round < options.count("--rounds"); ++round) {
      const Limits limits = measure_limits(device);
      for (const uint32_t tokens : lengths) {
        measure(*engine, trainer, device, round, tokens, options.count("--branches"), limits);
      }
    }
  } catch (const std::exception& error) {
    std::cerr << "training_bench: " << error.what() << "\n";
    return 1;
  }
}
