// What config.json and generation_config.json say about a model: a Qwen3 decoder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "compute/backend.h"
#include "model/rope.h"

namespace npr::model {

// Named as in config.json.
struct Config {
  uint32_t hidden_size = 0;
  uint32_t num_hidden_layers = 0;
  uint32_t num_attention_heads = 0;
  uint32_t num_key_value_heads = 0;  // divides num_attention_heads
  uint32_t head_dim = 0;             // even; heads * head_dim need not be hidden_size
  uint32_t intermediate_size = 0;
  uint32_t vocab_size = 0;
  // Positions lie in [0, this). Under YaRN at least factor * original_max_position_embeddings, since config.json often
  // keeps the number from before the extension.
  uint32_t max_position_embeddings = 0;
  float rms_norm_eps = 0;
  bool tie_word_embeddings = false;
  RopeSettings rope_settings;
  std::vector<int32_t> end_tokens;  // end a sequence; generation_config.json's, else config.json's

  uint32_t q_size() const { return num_attention_heads * head_dim; }
  uint32_t kv_size() const { return num_key_value_heads * head_dim; }
  compute::KvShape kv_shape() const { return {num_hidden_layers, num_key_value_heads, head_dim}; }
  compute::Rope rope() const { return rope_settings.rope(head_dim); }
};

// Throws Error(invalid_checkpoint), naming the file, the key, what was expected and what was found, where a value is
// missing, senseless, or asks for what is not Qwen3ForCausalLM as it stands here (quantized weights, biases, sliding
// windows, other activations or rotary scalings). Keys that do not bear on inference are ignored.
Config load_config(const std::filesystem::path& directory);

}  // namespace npr::model
