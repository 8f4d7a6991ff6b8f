// The engine's own speed, without Node: one JSON object a line on standard output.
//   engine_bench random DIR [--shape SHAPE]       writes a random checkpoint: qwen3-0.6b (1.2 GB) or tiny (10 MB)
//   engine_bench startup DIR [options]            a model's way from its files into memory, beside reading them
//   engine_bench speed DIR [options]              prefill and decode, each round beside the limits measured in it
//   engine_bench load DIR --prompt IDS [options]  callers that ask for the same again and again
// Options: --threads N  --isa amx|avx512|avx2|plain  --weights bf16|int8 (startup, speed: or both, in turns)  --rounds
// N
//          --tokens N  --trunk N  --branches N,N,..  --callers N  --seconds S
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/driver.h"
#include "common/machine_limits.h"
#include "common/model_cost.h"
#include "common/options.h"
#include "common/peak_memory.h"
#include "model/checkpoint.h"
#include "model/model.h"
#include "model/random_checkpoint.h"
#include "model/tensors.h"

namespace {

using namespace npr;
using namespace npr::bench;

model::Config shape(const Options& options) {
  const std::string& name = options.text("--shape");
  if (name == "qwen3-0.6b") return model::qwen3_600m();
  if (name == "tiny") return model::qwen3_tiny();
  throw Error(ErrorCode::invalid_request, "--shape: expected qwen3-0.6b or tiny");
}

void print_model(const Driver& driver, const compute::CpuOptions& cpu) {
  std::printf("{\"type\": \"model\", \"backend\": \"%s\", \"threads\": %u, \"parameters\": %llu}\n",
              driver.description().c_str(), cpu.threads,
              static_cast<unsigned long long>(model::parameter_count(driver.config())));
}

const char* name(compute::WeightFormat weights) { return weights == compute::WeightFormat::int8 ? "int8" : "bf16"; }

// `limit`: the seconds that the cost takes at the machine's bandwidth or peak, whichever takes longer.
void print_figure(const char* type, compute::WeightFormat weights, uint32_t round, uint32_t branches, double tokens,
                  double seconds, double steps, const Cost& step_cost, double bandwidth, double peak) {
  const double limit = std::max(step_cost.bytes / bandwidth, step_cost.flops / peak) * steps;
  std::printf(
      "{\"type\": \"%s\", \"weights\": \"%s\", \"round\": %u, \"branches\": %u, \"tokens_per_second\": %.6g, "
      "\"limit_tokens_per_second\": "
      "%.6g, \"bytes_per_second\": %.6g, \"flops_per_second\": %.6g}\n",
      type, name(weights), round, branches, tokens / seconds, tokens / limit, step_cost.bytes * steps / seconds,
      step_cost.flops * steps / seconds);
  std::fflush(stdout);
}

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Bytes of the directory's weights, read once from begin to end by one thread.
uint64_t read_weights(const std::filesystem::path& directory) {
  uint64_t bytes = 0;
  std::vector<char> buffer(4 << 20);
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount())
      bytes += static_cast<uint64_t>(file.gcount());
  }
  return bytes;
}

void startup(const char* directory, const Options& options) {
  constexpr uint32_t rows = 16;
  auto cpu = options.cpu();
  for (uint32_t round = 0; round < options.count("--rounds"); ++round) {
    for (const auto weights : options.weights()) {
      cpu.weights = weights;
      auto start = Clock::now();
      const uint64_t bytes = read_weights(directory);
      const double read = since(start);
      reset_peak_resident();
      start = Clock::now();
      const model::Checkpoint checkpoint(directory);
      const uint64_t kv_bytes = model::Model::min_slots * checkpoint.config().kv_shape().slot_bytes();
      const model::Model model(checkpoint, compute::make_cpu_backend(cpu), kv_bytes, rows);
      std::printf(
          "{\"type\": \"startup\", \"weights\": \"%s\", \"round\": %u, \"seconds\": %.6g, \"file_bytes\": %llu, "
          "\"read_seconds\": %.6g, \"peak_resident_bytes\": %llu}\n",
          name(weights), round, since(start), static_cast<unsigned long long>(bytes), read,
          static_cast<unsigned long long>(peak_resident()));
      std::fflush(stdout);
    }
  }
}

// Limits and figures alternate, so that whatever else the machine does in a round weighs on both.
void speed(const char* directory, const Options& options) {
  auto cpu = options.cpu();
  const auto branches = options.list<uint32_t>("--branches");
  const uint32_t tokens = options.count("--tokens"), trunk = options.count("--trunk");
  // Room for the widest decode, the prompts of two rounds and what rounding up to tiles takes.
  const uint32_t widest = *std::max_element(branches.begin(), branches.end());
  std::vector<std::pair<compute::WeightFormat, std::unique_ptr<Driver>>> drivers;
  for (const auto weights : options.weights()) {
    cpu.weights = weights;
    auto driver = std::make_unique<Driver>(directory, cpu, trunk, 4 * trunk + widest * (tokens + 32));
    driver->prefill(trunk);
    drivers.emplace_back(weights, std::move(driver));
  }
  print_model(*drivers.front().second, cpu);
  for (uint32_t round = 0; round < options.count("--rounds"); ++round) {
    const double bandwidth = read_bandwidth(cpu.threads), peak = bf16_peak(cpu.threads);
    std::printf("{\"type\": \"machine\", \"round\": %u, \"bytes_per_second\": %.6g, \"flops_per_second\": %.6g}\n",
                round, bandwidth, peak);
    for (const auto& [weights, driver] : drivers) {
      print_figure("prefill", weights, round, 1, trunk, driver->prefill(trunk), 1,
                   prefill_cost(driver->config(), weights, trunk), bandwidth, peak);
    }
    for (const uint32_t count : branches) {
      for (const auto& [weights, driver] : drivers) {
        const Decode decode = driver->decode(count, trunk, tokens);
        print_figure("decode", weights, round, count, static_cast<double>(decode.tokens), decode.seconds, tokens - 1,
                     decode_cost(driver->config(), weights, count, trunk, (tokens + 1) / 2.0), bandwidth, peak);
      }
    }
  }
}

void load(const char* directory, const Options& options) {
  auto cpu = options.cpu();
  cpu.weights = options.weights().front();
  const auto prompt = options.list<int32_t>("--prompt");
  const uint32_t tokens = options.count("--tokens"), callers = options.count("--callers");
  Driver driver(directory, cpu, 512, 4096 + callers * (static_cast<uint32_t>(prompt.size()) + tokens + 32));
  print_model(driver, cpu);
  driver.closed_loop(prompt, 1, 1, 0);  // so that the callers find the prompt in the cache
  driver.closed_loop(prompt, tokens, callers, 0.2);
  for (uint32_t round = 0; round < options.count("--rounds"); ++round) {
    const Load load = driver.closed_loop(prompt, tokens, callers, std::stod(options.text("--seconds")));
    std::printf(
        "{\"type\": \"load\", \"round\": %u, \"callers\": %u, \"requests\": %llu, \"tokens\": %llu, "
        "\"seconds\": %.6g}\n",
        round, callers, static_cast<unsigned long long>(load.requests), static_cast<unsigned long long>(load.tokens),
        load.seconds);
    std::fflush(stdout);
  }
}

const std::map<std::string, std::string> defaults{
    {"--threads", "0"},        {"--isa", "auto"},    {"--rounds", "5"},
    {"--tokens", "32"},        {"--trunk", "512"},   {"--branches", "1,2,4,8,16"},
    {"--callers", "1"},        {"--seconds", "3"},   {"--prompt", "1,2,3"},
    {"--shape", "qwen3-0.6b"}, {"--weights", "bf16"}};

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string command = argc >= 3 ? argv[1] : "";
    if (command == "random") {
      model::write_random_checkpoint(argv[2], shape(Options(argc, argv, 3, defaults)), 1);
    } else if (command == "startup") {
      startup(argv[2], Options(argc, argv, 3, defaults));
    } else if (command == "speed") {
      speed(argv[2], Options(argc, argv, 3, defaults));
    } else if (command == "load") {
      load(argv[2], Options(argc, argv, 3, defaults));
    } else {
      std::cerr << "usage: engine_bench random|startup|speed|load DIR [--option value]...\n";
      return 2;
    }
  } catch (const std::exception& error) {
    std::cerr << "engine_bench: " << error.what() << "\n";
    return 1;
  }
}
