#include "model/config.h"

#include <cmath>
#include <utility>

#include "check.h"
#include "model/model_directory.h"
#include "model/tensors.h"

using npr::model::Config;
using npr::model::load_config;

namespace {

const std::string fixtures = NPR_FIXTURES;

const std::string base = R"({
  "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
  "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
  "intermediate_size": 96, "vocab_size": 100, "max_position_embeddings": 40960, "rms_norm_eps": 1e-06,
  "eos_token_id": 7, "rope_theta": 1000000.0
})";

// The base configuration with one replacement.
Config changed(const std::string& from, const std::string& to, const std::string& generation = "") {
  const test::TemporaryDirectory directory;
  std::string text = base;
  test::replace(text, from, to);
  test::write_file(directory.path() / "config.json", text);
  if (!generation.empty()) test::write_file(directory.path() / "generation_config.json", generation);
  return load_config(directory.path());
}

// A refusal must name the file, the key, and what was expected or found.
void check_refused(const std::string& from, const std::string& to, const std::vector<std::string>& named) {
  const std::string message = CHECK_THROWS(changed(from, to));
  for (const std::string& part : named) {
    if (message.find(part) == std::string::npos) throw check::Failed("\"" + part + "\" is not in: " + message);
  }
}

void check_tokens(const std::vector<int32_t>& tokens, std::initializer_list<int32_t> expected) {
  CHECK(tokens == std::vector<int32_t>(expected));
}

void check_frequencies(const npr::compute::Rope& rope, float scale, const std::vector<float>& expected) {
  CHECK(std::abs(rope.scale - scale) <= 1e-6f);
  CHECK_EQ(rope.inv_freq.size(), expected.size());
  // Within two roundings: transformers' power function may differ in the last place.
  for (size_t i = 0; i < expected.size(); ++i) CHECK(std::abs(rope.inv_freq[i] / expected[i] - 1) <= 2.5e-7f);
}

}  // namespace

TEST(reads_a_checkpoint_of_transformers) {
  const Config config = load_config(fixtures + "/random-untied-sharded");
  CHECK_EQ(config.hidden_size, 96u);
  CHECK_EQ(config.num_hidden_layers, 2u);
  CHECK_EQ(config.num_attention_heads, 6u);
  CHECK_EQ(config.num_key_value_heads, 3u);
  CHECK_EQ(config.head_dim, 16u);
  CHECK_EQ(config.intermediate_size, 200u);
  CHECK_EQ(config.vocab_size, 512u);
  CHECK_EQ(config.max_position_embeddings, 4096u);
  CHECK_EQ(config.rms_norm_eps, 1e-6f);
  CHECK(!config.tie_word_embeddings);
  CHECK_EQ(config.rope_settings.theta, 1e4);
  check_tokens(config.end_tokens, {366});
  CHECK_EQ(npr::model::parameter_count(config), 269344u);
  CHECK_EQ(npr::model::parameter_count(npr::model::qwen3_600m()), 596049920u);
}

TEST(defaults) {
  CHECK_EQ(changed(R"("head_dim": 32,)", "").head_dim, 16u);
  CHECK_EQ(changed(R"("head_dim": 32)", R"("head_dim": null)").head_dim, 16u);
  CHECK_EQ(changed(R"("num_key_value_heads": 2,)", "").num_key_value_heads, 4u);
}

TEST(end_tokens) {
  const auto with = [](const std::string& value, const std::string& generation) {
    return changed(R"("eos_token_id": 7)", "\"eos_token_id\": " + value, generation).end_tokens;
  };
  check_tokens(with("7", ""), {7});
  check_tokens(with("[9, 7, 9]", ""), {7, 9});
  check_tokens(with("null", ""), {});
  check_tokens(with("7", R"({"eos_token_id": [3, 5]})"), {3, 5});
  check_tokens(with("7", R"({"eos_token_id": 0})"), {0});
  check_tokens(with("7", R"({"do_sample": true})"), {7});
  for (const char* wrong : {"-1", "100", "\"x\"", "[1, null]", "1.5", "{}"})
    CHECK(CHECK_THROWS(with("7", std::string("{\"eos_token_id\": ") + wrong + "}"))
              .find("generation_config.json: eos_token_id: expected a token") != std::string::npos);
}

TEST(refuses_other_models) {
  const std::string file = "/config.json: ";
  check_refused("Qwen3ForCausalLM", "LlamaForCausalLM",
                {file, "architectures", "[\"Qwen3ForCausalLM\"]", "[\"LlamaForCausalLM\"]"});
  check_refused("[\"Qwen3ForCausalLM\"]", "\"Qwen3ForCausalLM\"", {file, "architectures", "found \"Qwen3"});
  check_refused("\"qwen3\"", "\"qwen2\"", {file, "model_type", "\"qwen3\"", "\"qwen2\""});
  check_refused("\"silu\"", "\"gelu\"", {file, "hidden_act", "\"silu\"", "\"gelu\""});
  check_refused("\"eos", R"("attention_bias": true, "eos)", {file, "attention_bias", "false", "true"});
  check_refused("\"eos", R"("use_sliding_window": true, "eos)", {file, "use_sliding_window", "false", "true"});
  check_refused("\"eos", R"("quantization_config": {"bits": 4}, "eos)", {file, "quantization_config", "an object"});
  check_refused("\"eos", R"("layer_types": ["full_attention", "sliding_attention"], "eos)",
                {file, "layer_types", "2 layers", "sliding_attention"});
  check_refused("\"eos", R"("layer_types": ["full_attention"], "eos)", {file, "layer_types", "2 layers"});
}

TEST(refuses_senseless_values) {
  check_refused(R"("num_hidden_layers": 2)", R"("num_hidden_layers": -3)",
                {"num_hidden_layers", "from 1 to 1024", "found -3"});
  check_refused(R"("num_hidden_layers": 2,)", "", {"num_hidden_layers", "found no such key"});
  check_refused(R"("hidden_size": 64)", R"("hidden_size": 64.0)", {"hidden_size", "a whole number", "found 64"});
  check_refused(R"("hidden_size": 64)", R"("hidden_size": 1e9)", {"hidden_size", "131072", "1e+09"});
  check_refused(R"("vocab_size": 100)", R"("vocab_size": "100")", {"vocab_size", "found \"100\""});
  check_refused(R"("vocab_size": 100)", R"("vocab_size": 0)", {"vocab_size", "found 0"});
  check_refused(R"("num_key_value_heads": 2)", R"("num_key_value_heads": 3)",
                {"num_key_value_heads", "divisor of num_attention_heads, 4", "found 3"});
  check_refused(R"("num_key_value_heads": 2)", R"("num_key_value_heads": 8)", {"from 1 to 4", "found 8"});
  check_refused(R"("head_dim": 32)", R"("head_dim": 31)", {"head_dim", "even", "found 31"});
  check_refused(R"("rms_norm_eps": 1e-06)", R"("rms_norm_eps": -1)", {"rms_norm_eps", "found -1"});
  check_refused(R"("eos_token_id": 7)", R"("eos_token_id": 100)", {"eos_token_id", "0 to 99", "found 100"});
  check_refused("\"eos", R"("tie_word_embeddings": 1, "eos)", {"tie_word_embeddings", "true or false", "found 1"});
}

TEST(refuses_other_rotary_scalings) {
  const std::string plain = R"("rope_theta": 1000000.0)";
  check_refused(plain, R"("rope_scaling": null)", {"rope_theta", "no such key"});
  check_refused(plain, plain + R"(, "rope_scaling": {"type": "linear", "factor": 2})",
                {"config.json: rope_scaling: type", "\"default\" or \"yarn\"", "\"linear\""});
  check_refused(plain, R"("rope_parameters": {"rope_theta": 1e6, "rope_type": "llama3", "factor": 2})",
                {"config.json: rope_parameters: rope_type", "\"llama3\""});
  check_refused(plain, plain + R"(, "rope_scaling": {"rope_type": "yarn"})", {"rope_scaling: factor", "no such key"});
  check_refused(plain, plain + R"(, "rope_scaling": {"rope_type": "yarn", "factor": 0.5})", {"factor", "found 0.5"});
  check_refused(plain,
                plain + R"(, "rope_scaling": {"rope_type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 2})",
                {"beta_fast", "not below beta_slow"});
  check_refused(plain, plain + R"(, "rope_scaling": 4)", {"rope_scaling", "expected an object", "found 4"});
  check_refused(plain, plain + R"(, "rope_scaling": {"type": "default"}, "rope_parameters": {"rope_type": "default"})",
                {"rope_scaling", "beside rope_parameters"});
  check_refused(plain, plain + R"(, "partial_rotary_factor": 0.5)", {"partial_rotary_factor", "found 0.5"});
}

// What transformers 5.17 computes for the same settings (Qwen3RotaryEmbedding).
TEST(rotary_frequencies) {
  const auto rope = [](const std::string& settings) { return changed(R"("rope_theta": 1000000.0)", settings).rope(); };
  check_frequencies(rope(R"("rope_theta": 1e6)"), 1,
                    {1, 0.421696514f, 0.177827939f, 0.0749894157f, 0.0316227786f, 0.0133352149f, 0.00562341325f,
                     0.00237137382f, 0.00100000005f, 0.000421696488f, 0.00017782794f, 7.49894243e-05f, 3.16227743e-05f,
                     1.33352141e-05f, 5.62341347e-06f, 2.37137374e-06f});
  check_frequencies(rope(R"("rope_theta": 1e6, "rope_scaling":
                         {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768})"),
                    1.13862943649292f,
                    {1, 0.421696514f, 0.177827939f, 0.0749894157f, 0.0316227786f, 0.0133352149f, 0.00477990136f,
                     0.00165996165f, 0.000549999997f, 0.000168678584f, 4.44569851e-05f, 1.87473561e-05f,
                     7.90569356e-06f, 3.33380353e-06f, 1.40585337e-06f, 5.92843435e-07f});
  check_frequencies(rope(R"("rope_theta": 1e4, "rope_scaling": {"type": "yarn", "factor": 8.0, "beta_fast": 16,
                         "original_max_position_embeddings": 2048, "beta_slow": 2, "truncate": false})"),
                    1.2079441547393799f,
                    {1, 0.562341332f, 0.316227764f, 0.177827939f, 0.100000001f, 0.0562341288f, 0.0257716179f,
                     0.0101850266f, 0.00330522214f, 0.000702926656f, 0.000395284733f, 0.000222284929f, 0.000125000006f,
                     7.02926627e-05f, 3.95284733e-05f, 2.22284925e-05f});
  check_frequencies(rope(R"("rope_parameters": {"rope_type": "yarn", "rope_theta": 5e5, "factor": 40, "mscale": 0.707,
                         "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096})"),
                    0.9210423827171326f,
                    {1, 0.440366626f, 0.193922758f, 0.0853971019f, 0.0302728545f, 0.0101018688f, 0.00302645564f,
                     0.000706518069f, 3.53553369e-05f, 1.55693106e-05f, 6.85620444e-06f, 3.01924365e-06f,
                     1.32957393e-06f, 5.85500004e-07f, 2.57834614e-07f, 1.13541766e-07f});
  check_frequencies(rope(R"("rope_parameters":
                         {"rope_type": "yarn", "rope_theta": 1e6, "factor": 2.5, "attention_factor": 0.75})"),
                    0.75f,
                    {1, 0.421696514f, 0.177827939f, 0.0749894157f, 0.0316227786f, 0.0133352149f, 0.00562341325f,
                     0.00208680891f, 0.000760000024f, 0.000269885757f, 9.24705237e-05f, 2.99957683e-05f,
                     1.26491104e-05f, 5.33408547e-06f, 2.24936525e-06f, 9.48549484e-07f});
}

TEST(yarn_extends_the_position_limit) {
  const auto limit = [](const std::string& yarn) {
    return changed(R"("rope_theta")", "\"rope_scaling\": " + yarn + ", \"rope_theta\"").max_position_embeddings;
  };
  CHECK_EQ(limit(R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768})"), 131072u);
  CHECK_EQ(limit(R"({"rope_type": "yarn", "factor": 1.0, "original_max_position_embeddings": 32768})"), 40960u);
}
