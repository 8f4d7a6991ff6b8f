#include "model/random_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <thread>
#include <vector>

#include "compute/convert.h"
#include "compute/cpu/thread_pool.h"
#include "error.h"
#include "model/tensors.h"

namespace npr::model {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): number `index` of the stream `seed`.
uint64_t random_bits(uint64_t seed, uint64_t index) {
  uint64_t x = seed + (index + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// Fills `out` with numbers [first, first + size) of the stream, uniform in centre +- spread. `first` divides by four.
void fill(uint64_t seed, uint64_t first, float centre, float spread, std::span<uint16_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t bits = random_bits(seed, (first + i) / 4) >> (16 * (i % 4));
    const auto unit = static_cast<float>(static_cast<int16_t>(bits & 0xffff)) / 32768.0f;  // [-1, 1)
    out[i] = compute::to_bf16(centre + spread * unit);
  }
}

// A block is what the threads share between two writes, a piece what one takes of it.
constexpr uint64_t block_numbers = 1 << 24, piece_numbers = 1 << 18;

// `block`: where numbers are made, at least one piece or the whole tensor.
void write_tensor(const TensorSpec& tensor, uint64_t seed, compute::ThreadPool& pool, std::span<uint16_t> block,
                  CheckpointWriter& writer) {
  const bool norm = tensor.shape.size() == 1;
  const float centre = norm ? 1.0f : 0.0f;
  // A uniform number in +-s has variance s^2 / 3.
  const float spread = norm ? 0.1f : std::sqrt(3.0f / static_cast<float>(tensor.shape[1]));
  const uint64_t numbers = tensor.numbers();
  for (uint64_t first = 0; first < numbers; first += block.size()) {
    const auto part = block.first(std::min<uint64_t>(block.size(), numbers - first));
    pool.run(static_cast<uint32_t>((part.size() + piece_numbers - 1) / piece_numbers), [&](uint32_t piece, uint32_t) {
      const uint64_t at = piece * piece_numbers;
      fill(seed, first + at, centre, spread, part.subspan(at, std::min(piece_numbers, part.size() - at)));
    });
    writer.append(part);
  }
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) throw Error(ErrorCode::invalid_request, path.string() + ": can't be written");
}

std::string config_json(const Config& config) {
  std::string out = R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu")";
  const auto add = [&](const char* key, const std::string& value) {
    out += std::string(", \"") + key + "\": " + value;
  };
  const auto number = [](double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.9g", value);
    return std::string(digits);
  };
  add("hidden_size", std::to_string(config.hidden_size));
  add("num_hidden_layers", std::to_string(config.num_hidden_layers));
  add("num_attention_heads", std::to_string(config.num_attention_heads));
  add("num_key_value_heads", std::to_string(config.num_key_value_heads));
  add("head_dim", std::to_string(config.head_dim));
  add("intermediate_size", std::to_string(config.intermediate_size));
  add("vocab_size", std::to_string(config.vocab_size));
  add("max_position_embeddings", std::to_string(config.max_position_embeddings));
  add("rms_norm_eps", number(config.rms_norm_eps));
  add("tie_word_embeddings", config.tie_word_embeddings ? "true" : "false");
  add("rope_theta", number(config.rope_settings.theta));
  std::string tokens;
  for (const int32_t token : config.end_tokens) tokens += (tokens.empty() ? "" : ", ") + std::to_string(token);
  add("eos_token_id", "[" + tokens + "]");
  add("dtype", "\"bfloat16\"");
  return out + "}\n";
}

}  // namespace

Config qwen3_600m() {
  Config config;
  config.hidden_size = 1024;
  config.num_hidden_layers = 28;
  config.num_attention_heads = 16;
  config.num_key_value_heads = 8;
  config.head_dim = 128;
  config.intermediate_size = 3072;
  config.vocab_size = 151936;
  config.max_position_embeddings = 40960;
  config.rms_norm_eps = 1e-6f;
  config.tie_word_embeddings = true;
  config.rope_settings.theta = 1e6;
  config.end_tokens = {151643, 151645};
  return config;
}

Config qwen3_4b() {
  Config config = qwen3_600m();
  config.hidden_size = 2560;
  config.num_hidden_layers = 36;
  config.num_attention_heads = 32;
  config.intermediate_size = 9728;
  return config;
}

Config qwen3_tiny() {
  Config config = qwen3_600m();
  config.hidden_size = 256;
  config.num_hidden_layers = 6;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 64;
  config.intermediate_size = 768;
  config.vocab_size = 1024;
  config.end_tokens = {};
  return config;
}

void write_random_checkpoint(const std::filesystem::path& directory, const Config& config, uint64_t seed,
                             uint64_t shard_bytes) {
  ensure(!config.rope_settings.yarn, "random checkpoints have plain rotary positions");
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  write_text(directory / "config.json", config_json(config));
  const auto tensors = model_tensors(config);
  CheckpointWriter writer(directory, tensors, shard_bytes);
  // What a thread makes in less time than it takes to start needs no second one.
  const uint64_t numbers = parameter_count(config);
  compute::ThreadPool pool(numbers < block_numbers ? 1 : std::max(std::thread::hardware_concurrency(), 1u));
  std::vector<uint16_t> block(std::min(block_numbers, numbers));
  uint64_t stream = 0;
  for (const TensorSpec& tensor : tensors) write_tensor(tensor, random_bits(seed, stream++), pool, block, writer);
  writer.finish();
}

}  // namespace npr::model
