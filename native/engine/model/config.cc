#include "model/config.h"

#include <algorithm>

#include "error.h"
#include "model/file.h"
#include "model/json.h"

namespace npr::model {
namespace {

constexpr uint64_t max_config_bytes = 16 << 20;

Json load_json(const std::filesystem::path& path) {
  return Json::parse(read_text(path, max_config_bytes), path.string());
}

void require_qwen3(const Fields& fields) {
  const Json* names = fields.find("architectures");
  const bool qwen3 = names && names->is(Json::Kind::array) && names->array().size() == 1 &&
                     names->array()[0].string() == "Qwen3ForCausalLM";
  if (!qwen3) fields.fail("architectures", "[\"Qwen3ForCausalLM\"]");
  if (fields.text("model_type") != "qwen3") fields.fail("model_type", "\"qwen3\"");
  if (fields.find("quantization_config")) fields.fail("quantization_config", "no such key (unquantized weights)");
  if (fields.text("hidden_act") != "silu") fields.fail("hidden_act", "\"silu\"");
  if (fields.boolean("attention_bias", false)) fields.fail("attention_bias", "false");
  if (fields.boolean("use_sliding_window", false)) fields.fail("use_sliding_window", "false");
}

void require_full_attention(const Fields& fields, uint32_t layers) {
  const Json* types = fields.find("layer_types");
  if (!types) return;
  const auto& list = types->array();
  const bool full = list.size() == layers && std::all_of(list.begin(), list.end(), [](const Json& type) {
                      return type.string() == "full_attention";
                    });
  if (!full) fields.fail("layer_types", "\"full_attention\" for each of " + std::to_string(layers) + " layers");
}

// One token, several, or none.
std::vector<int32_t> read_end_tokens(const Fields& fields, uint32_t vocab_size) {
  const Json* value = fields.find("eos_token_id");
  if (!value) return {};
  std::vector<int32_t> tokens;
  const auto add = [&](const Json& token) {
    const auto id = token.integer();
    if (!id || *id < 0 || *id >= vocab_size)
      fields.fail("eos_token_id", "a token or a list of tokens, each from 0 to " + std::to_string(vocab_size - 1));
    tokens.push_back(static_cast<int32_t>(*id));
  };
  if (value->is(Json::Kind::array)) {
    for (const Json& token : value->array()) add(token);
  } else {
    add(*value);
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

}  // namespace

Config load_config(const std::filesystem::path& directory) {
  const auto path = directory / "config.json";
  const Json json = load_json(path);
  const Fields fields(json, path.string());
  require_qwen3(fields);

  Config config;
  // The upper bounds are far above any model's; they keep products of two within 64 bits and a typing error from
  // becoming an attempt to allocate.
  config.hidden_size = fields.count("hidden_size", 1, 1 << 17);
  config.num_hidden_layers = fields.count("num_hidden_layers", 1, 1 << 10);
  config.num_attention_heads = fields.count("num_attention_heads", 1, 1 << 10);
  config.num_key_value_heads =
      fields.count("num_key_value_heads", 1, config.num_attention_heads, config.num_attention_heads);
  if (config.num_attention_heads % config.num_key_value_heads)
    fields.fail("num_key_value_heads",
                "a divisor of num_attention_heads, " + std::to_string(config.num_attention_heads));
  const uint32_t even_share = config.hidden_size / config.num_attention_heads;
  const bool divides = config.hidden_size % config.num_attention_heads == 0;
  config.head_dim = divides ? fields.count("head_dim", 2, 1 << 10, even_share) : fields.count("head_dim", 2, 1 << 10);
  if (config.head_dim % 2) fields.fail("head_dim", "an even number, since rotary embedding turns pairs");
  config.intermediate_size = fields.count("intermediate_size", 1, 1 << 20);
  config.vocab_size = fields.count("vocab_size", 1, 1 << 24);
  config.max_position_embeddings = fields.count("max_position_embeddings", 1, most_positions);
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", 0, 1));
  config.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  require_full_attention(fields, config.num_hidden_layers);

  config.rope_settings = read_rope(fields, config.max_position_embeddings);
  if (const auto& yarn = config.rope_settings.yarn) {
    const double extended = std::min(yarn->factor * yarn->original_max_position_embeddings, double{most_positions});
    config.max_position_embeddings = std::max(config.max_position_embeddings, static_cast<uint32_t>(extended));
  }

  const auto generation_path = directory / "generation_config.json";
  if (std::error_code unknown; std::filesystem::exists(generation_path, unknown)) {
    const Json generation = load_json(generation_path);
    config.end_tokens = read_end_tokens(Fields(generation, generation_path.string()), config.vocab_size);
  }
  if (config.end_tokens.empty()) config.end_tokens = read_end_tokens(fields, config.vocab_size);
  return config;
}

}  // namespace npr::model
