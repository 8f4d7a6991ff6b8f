// Forward, backward and optimizer step of training, without Node: one JSON object a line on standard output.
//   training_bench DIR [--threads N] [--isa amx|avx512|avx2|plain] [--rounds N] [--tokens N,N] [--branches N]
//                      [--recompute none|layer]
// A sequence is a prompt of a quarter of its tokens, branches that share half of them, and a quarter behind the join;
// the loss is over all but the prompt.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/machine_limits.h"
#include "common/options.h"
#include "common/peak_memory.h"
#include "model/training_graph.h"
#include "sample/policy.h"
#include "train/optimizer.h"

namespace {

using namespace npr;
using namespace npr::bench;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Sequences {
  model::Batch batch;
  std::vector<compute::Path> paths;
  std::vector<uint32_t> loss_rows;  // whose logits predict a token that counts
};

Sequences make_sequences(const model::Config& config, uint32_t tokens, uint32_t branches) {
  Sequences out;
  const uint32_t prompt = tokens / 4, each = tokens / 2 / branches, rest = tokens - prompt - branches * each;
  uint32_t next = 0;
  const auto append = [&](compute::Path path, uint32_t count, uint32_t position) {
    if (!path.empty() && path.back().begin + path.back().count == next) {
      path.back().count += count;
    } else {
      path.push_back({next, count});
    }
    for (uint32_t i = 0; i < count; ++i, ++next) {
      out.batch.tokens.push_back(static_cast<int32_t>((next * 7919u + 13) % config.vocab_size));
      out.batch.positions.push_back(static_cast<int32_t>(position + i));
      out.batch.slots.push_back(next);
    }
    out.paths.push_back(path);
    uint32_t length = 0;
    for (const auto& run : path) length += run.count;
    out.batch.sequences.push_back({{}, length, count});
  };
  const compute::Path trunk{{0, prompt}};
  append({}, prompt, 0);
  for (uint32_t b = 0; b < branches; ++b) append(trunk, each, prompt);
  append({{0, prompt + branches * each}}, rest, prompt + each);
  for (size_t s = 0; s < out.paths.size(); ++s) out.batch.sequences[s].path = out.paths[s];
  for (uint32_t row = prompt; row + 1 < tokens; ++row) out.loss_rows.push_back(row);
  return out;
}

// Multiplications and additions of the products that a token takes part in, forward and backward (three times the
// forward's), and of the attention that is visible.
double flops_of(const model::Config& config, const Sequences& sequences) {
  const double hidden = config.hidden_size, q = config.q_size(), kv = config.kv_size();
  const double layer = hidden * (q + 2 * kv) + q * hidden + 3.0 * hidden * config.intermediate_size;
  double seen = 0;
  for (const auto& s : sequences.batch.sequences) seen += (s.length - s.rows / 2.0) * s.rows;
  return 6 * (sequences.batch.rows() * layer * config.num_hidden_layers +
              static_cast<double>(sequences.loss_rows.size()) * hidden * config.vocab_size) +
         3 * 4 * seen * q * config.num_hidden_layers;
}

// The gradient of the mean of -logp of a made-up next token, in place.
void cross_entropy(compute::Backend& backend, std::span<float> logits, uint32_t vocab, float weight) {
  backend.parallel(static_cast<uint32_t>(logits.size() / vocab), [&](uint32_t i) {
    thread_local sample::Scratch scratch;
    float* const row = logits.data() + size_t{i} * vocab;
    sample::Policy(row, vocab, scratch).differentiate(static_cast<int32_t>(i * 31 % vocab), -weight, row);
  });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options(argc, argv, 2,
                          {{"--threads", "0"},
                           {"--isa", "auto"},
                           {"--rounds", "3"},
                           {"--tokens", "1024,4096"},
                           {"--branches", "4"},
                           {"--recompute", "none"}});
    const std::string recompute = options.text("--recompute");
    if (recompute != "none" && recompute != "layer") {
      throw Error(ErrorCode::invalid_request, "--recompute: expected none or layer");
    }
    const auto lengths = options.list<uint32_t>("--tokens");
    const uint32_t longest = *std::ranges::max_element(lengths);
    const auto cpu = options.cpu();
    const model::Checkpoint checkpoint(argv[1]);
    const auto& config = checkpoint.config();
    model::Model model(checkpoint, compute::make_cpu_backend(cpu), (longest + 16) * config.kv_shape().slot_bytes(), 16);
    const auto gradients = train::make_parameter_store(model, {});
    train::Optimizer optimizer(model.backend(), *gradients, {});
    // Masters, moments and gradients are read, and the first three written.
    const double update_bytes = 28.0 * static_cast<double>(gradients->arrays().size());
    for (uint32_t round = 0; round < options.count("--rounds"); ++round) {
      const double peak = bf16_peak(cpu.threads), bandwidth = read_bandwidth(cpu.threads);
      for (const uint32_t tokens : lengths) {
        model::TrainingGraph graph(model, recompute == "layer" ? model::Recompute::layer : model::Recompute::none);
        const auto sequences = make_sequences(config, tokens, options.count("--branches"));
        const float weight = 1.0f / static_cast<float>(sequences.loss_rows.size());
        const auto start = Clock::now();
        graph.forward(sequences.batch);
        const double forward = since(start);
        const auto head_start = Clock::now();
        for (size_t first = 0; first < sequences.loss_rows.size(); first += graph.head_rows()) {
          const auto rows =
              std::span(sequences.loss_rows)
                  .subspan(first, std::min<size_t>(graph.head_rows(), sequences.loss_rows.size() - first));
          cross_entropy(model.backend(), graph.logits(rows), config.vocab_size, weight);
          graph.logits_backward(*gradients);
        }
        const double head = since(head_start);
        const auto backward_start = Clock::now();
        graph.backward(*gradients);
        const double backward = since(backward_start), total = since(start);
        const auto update_start = Clock::now();
        optimizer.step(1e-6);
        const double update = since(update_start);
        std::printf(
            "{\"type\": \"train\", \"round\": %u, \"tokens\": %u, \"tokens_per_second\": %.6g, "
            "\"limit_tokens_per_second\": %.6g, \"forward_s\": %.4g, \"head_s\": %.4g, \"backward_s\": %.4g, "
            "\"flops_per_second\": %.6g, \"update_s\": %.4g, \"limit_update_s\": %.4g, "
            "\"peak_resident_bytes\": %llu}\n",
            round, tokens, tokens / total, tokens * peak / flops_of(config, sequences), forward, head, backward,
            flops_of(config, sequences) / total, update, update_bytes / bandwidth,
            static_cast<unsigned long long>(peak_resident()));
        std::fflush(stdout);
      }
    }
  } catch (const std::exception& error) {
    std::cerr << "training_bench: " << error.what() << "\n";
    return 1;
  }
}
