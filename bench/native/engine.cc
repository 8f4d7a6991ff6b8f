// The engine's own speed, without Node: one JSON object a line on standard output.
//   engine_bench random DIR [--shape SHAPE]       writes a random checkpoint: qwen3-4b (8.0 GB), qwen3-0.6b (1.2 GB)
//                                                 or tiny (10 MB)
//   engine_bench startup DIR [options]            a model's way from its files into memory, beside reading them
//   engine_bench speed DIR [options]              prefill and decode, each round beside the limits measured in it
//   engine_bench load DIR --prompt IDS [options]  callers that ask for the same again and again
// Options: --device cpu|cuda  --threads N  --isa amx|avx512|avx2|plain  --rounds N
//          --weights bf16|int8 (startup, speed: or both, in turns)
//          speed: --tokens N (a branch)  --prefill N,N,..  --trunk N,N,..  --branches N,N,.. (over each trunk)
//                 --apart N,N,.. sequences with a prompt of their own  --context N (of each)
//          load: --tokens N  --callers N  --seconds S
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
  if (name == "qwen3-4b") return model::qwen3_4b();
  if (name == "qwen3-0.6b") return model::qwen3_600m();
  if (name == "tiny") return model::qwen3_tiny();
  throw Error(ErrorCode::invalid_request, "--shape: expected qwen3-4b, qwen3-0.6b or tiny");
}

void print_model(const Driver& driver, uint32_t threads) {
  std::printf("{\"type\": \"model\", \"backend\": \"%s\", \"threads\": %u, \"parameters\": %llu}\n",
              driver.description().c_str(), threads,
              static_cast<unsigned long long>(model::parameter_count(driver.config())));
}

const char* name(compute::WeightFormat weights) { return weights == compute::WeightFormat::int8 ? "int8" : "bf16"; }

struct Work {
  const char* type;
  compute::WeightFormat weights;
  uint32_t round;
  uint32_t trunk, branches;  // tokens; of a prefill the prompt's
  double tokens, steps;
  Cost step;
};

// The limit: what the steps cost at the machine's bandwidth or peak, whichever takes longer.
void print_figure(const Work& work, double seconds, const Limits& limits) {
  const Cost& step = work.step;
  const double limit =
      std::max(step.bytes / limits.bytes_per_second, step.flops / limits.flops_per_second) * work.steps;
  std::printf(
      "{\"type\": \"%s\", \"weights\": \"%s\", \"round\": %u, \"trunk\": %u, \"branches\": %u, "
      "\"tokens_per_second\": %.6g, \"limit_tokens_per_second\": %.6g, \"bytes_per_second\": %.6g, "
      "\"flops_per_second\": %.6g}\n",
      work.type, name(work.weights), work.round, work.trunk, work.branches, work.tokens / seconds, work.tokens / limit,
      step.bytes * work.steps / seconds, step.flops * work.steps / seconds);
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
  auto device = options.device();
  for (uint32_t round = 0; round < options.count("--rounds"); ++round) {
    for (const auto weights : options.weights()) {
      device.cpu.weights = weights;
      auto start = Clock::now();
      const uint64_t bytes = read_weights(directory);
      const double read = since(start);
      reset_peak_resident();
      start = Clock::now();
      const model::Checkpoint checkpoint(directory);
      const uint64_t kv_bytes = model::Model::min_slots * checkpoint.config().kv_shape().slot_bytes();
      const model::Model model(checkpoint, compute::make_backend(device), kv_bytes, rows);
      std::printf(
          "{\"type\": \"startup\", \"weights\": \"%s\", \"round\": %u, \"seconds\": %.6g, \"file_bytes\": %llu, "
          "\"read_seconds\": %.6g, \"peak_resident_bytes\": %llu}\n",
          name(weights), round, since(start), static_cast<unsigned long long>(bytes), read,
          static_cast<unsigned long long>(peak_resident()));
      std::fflush(stdout);
    }
  }
}

struct Plan {
  std::vector<uint32_t> prefill, trunks, branches, apart;
  uint32_t tokens, context;

  explicit Plan(const Options& options)
      : prefill(options.list<uint32_t>("--prefill")),
        trunks(options.list<uint32_t>("--trunk")),
        branches(options.list<uint32_t>("--branches")),
        apart(options.list<uint32_t>("--apart")),
        tokens(options.count("--tokens")),
        context(options.count("--context")) {}

  static uint32_t most(const std::vector<uint32_t>& counts) {
    return counts.empty() ? 0 : *std::ranges::max_element(counts);
  }
  uint32_t rows() const { return std::max({most(prefill), most(trunks), most(branches), most(apart)}); }
  // Room for the widest decode, the prompts of two rounds and what rounding up to tiles takes.
  uint32_t slots() const {
    const uint64_t together = 4 * uint64_t{rows()} + most(branches) * (tokens + 32);
    return static_cast<uint32_t>(together + Driver::slots_apart(most(apart), context, tokens, rows()));
  }
};

// Limits and figures alternate, so that whatever else the machine does in a round weighs on both.
void speed(const char* directory, const Options& options) {
  auto device = options.device();
  const Plan plan(options);
  std::vector<std::pair<compute::WeightFormat, std::unique_ptr<Driver>>> drivers;
  for (const auto weights : options.weights()) {
    device.cpu.weights = weights;
    drivers.emplace_back(weights, std::make_unique<Driver>(directory, device, plan.rows(), plan.slots()));
    for (const uint32_t prompt : plan.prefill) drivers.back().second->prefill(prompt);
  }
  const model::Config& config = drivers.front().second->config();
  print_model(*drivers.front().second, device.cpu.threads);
  for (uint32_t round = 0; round < options.count("--rounds"); ++round) {
    const Limits limits = measure_limits(device);
    std::printf(
        "{\"type\": \"machine\", \"round\": %u, \"bytes_per_second\": %.6g, \"flops_per_second\": %.6g, "
        "\"instruction\": \"%s\"}\n",
        round, limits.bytes_per_second, limits.flops_per_second, limits.instruction);
    for (const uint32_t prompt : plan.prefill) {
      for (const auto& [weights, driver] : drivers) {
        const double seconds = driver->prefill(prompt);
        print_figure({"prefill", weights, round, prompt, 1, double(prompt), 1, prefill_cost(config, weights, prompt)},
                     seconds, limits);
      }
    }
    const auto print_decode = [&](const char* type, compute::WeightFormat weights, uint32_t trunk, uint32_t branches,
                                  const Decode& decode, const Cost& step) {
      print_figure({type, weights, round, trunk, branches, double(decode.tokens), plan.tokens - 1.0, step},
                   decode.seconds, limits);
    };
    for (const uint32_t trunk : plan.trunks) {
      for (const uint32_t branches : plan.branches) {
        for (const auto& [weights, driver] : drivers) {
          const Decode decode = driver->decode(branches, trunk, plan.tokens);
          print_decode("decode", weights, trunk, branches, decode,
                       decode_cost(config, weights, branches, trunk, decode.own));
        }
      }
    }
    for (const uint32_t sequences : plan.apart) {
      for (const auto& [weights, driver] : drivers) {
        const Decode decode = driver->decode_apart(sequences, plan.context, plan.tokens);
        print_decode("decode_apart", weights, plan.context, sequences, decode,
                     decode_cost(config, weights, sequences, 0, decode.own));
      }
    }
  }
}

void load(const char* directory, const Options& options) {
  auto device = options.device();
  device.cpu.weights = options.weights().front();
  const auto prompt = options.list<int32_t>("--prompt");
  const uint32_t tokens = options.count("--tokens"), callers = options.count("--callers");
  Driver driver(directory, device, 512, 4096 + callers * (static_cast<uint32_t>(prompt.size()) + tokens + 32));
  print_model(driver, device.cpu.threads);
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
    {"--device", "cpu"},   {"--threads", "0"},    {"--isa", "auto"},        {"--rounds", "5"},
    {"--tokens", "32"},    {"--trunk", "512"},    {"--prefill", "512"},     {"--branches", "1,2,4,8,16"},
    {"--apart", ""},       {"--context", "0"},    {"--callers", "1"},       {"--seconds", "3"},
    {"--prompt", "1,2,3"}, {"--weights", "bf16"}, {"--shape", "qwen3-0.6b"}};

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
