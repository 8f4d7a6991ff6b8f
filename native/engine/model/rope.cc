#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace npr::model {
namespace {

double log_scale(double factor, double weight) { return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1; }

Yarn read_yarn(const Fields& config, const Fields& fields, uint32_t max_position_embeddings) {
  Yarn yarn;
  // A value beside the rotary settings, where there is one, has precedence over one within.
  const Fields& holder = config.find("original_max_position_embeddings") ? config : fields;
  yarn.original_max_position_embeddings =
      holder.count("original_max_position_embeddings", 1, most_positions, max_position_embeddings);
  yarn.factor = fields.number("factor", 1, 1e4);
  // Zero stands for the default in the fields below, as in transformers.
  const auto or_default = [&](const char* key, double otherwise) {
    const double value = fields.number(key, 0, 1e6, otherwise);
    return value == 0 ? otherwise : value;
  };
  yarn.beta_fast = or_default("beta_fast", 32);
  yarn.beta_slow = or_default("beta_slow", 1);
  if (yarn.beta_fast < yarn.beta_slow) fields.fail("beta_fast", "a number not below beta_slow");
  const double mscale = fields.number("mscale", 0, 1e3, 0), all = fields.number("mscale_all_dim", 0, 1e3, 0);
  const double inferred =
      mscale > 0 && all > 0 ? log_scale(yarn.factor, mscale) / log_scale(yarn.factor, all) : log_scale(yarn.factor, 1);
  yarn.attention_factor = fields.number("attention_factor", 0, 1e3, inferred);
  yarn.truncate = fields.boolean("truncate", true);
  return yarn;
}

}  // namespace

RopeSettings read_rope(const Fields& config, uint32_t max_position_embeddings) {
  const bool scaling = config.find("rope_scaling");
  if (scaling && config.find("rope_parameters")) config.fail("rope_scaling", "no such key beside rope_parameters");
  const Fields fields = config.section(scaling ? "rope_scaling" : "rope_parameters");

  RopeSettings settings;
  settings.theta = (fields.find("rope_theta") ? fields : config).number("rope_theta", 1.001, 1e15);
  if (fields.number("partial_rotary_factor", 0, 1, 1) != 1) fields.fail("partial_rotary_factor", "1");
  if (config.number("partial_rotary_factor", 0, 1, 1) != 1) config.fail("partial_rotary_factor", "1");

  const char* const type_key = fields.find("rope_type") ? "rope_type" : "type";
  const std::string type = fields.text(type_key, "default");
  if (type == "yarn") {
    settings.yarn = read_yarn(config, fields, max_position_embeddings);
  } else if (type != "default") {
    fields.fail(type_key, "\"default\" or \"yarn\"");
  }
  return settings;
}

compute::Rope RopeSettings::rope(uint32_t head_dim) const {
  const uint32_t pairs = head_dim / 2;
  compute::Rope rope;
  rope.inv_freq.resize(pairs);
  for (uint32_t i = 0; i < pairs; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    rope.inv_freq[i] = 1.0f / std::pow(static_cast<float>(theta), exponent);
  }
  if (!yarn) return rope;

  // The (fractional) pair that turns `turns` times within the original context.
  const auto pair_of = [&](double turns) {
    const double wavelength = yarn->original_max_position_embeddings / (turns * 2 * std::numbers::pi);
    return head_dim * std::log(wavelength) / (2 * std::log(theta));
  };
  double low = pair_of(yarn->beta_fast), high = pair_of(yarn->beta_slow);
  if (yarn->truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, head_dim - 1.0);
  if (low == high) high += 0.001;
  for (uint32_t i = 0; i < pairs; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float frequency = std::pow(static_cast<float>(theta), exponent);
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float keep = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    const float stretched = 1.0f / (static_cast<float>(yarn->factor) * frequency);
    rope.inv_freq[i] = stretched * (1.0f - keep) + rope.inv_freq[i] * keep;
  }
  rope.scale = static_cast<float>(yarn->attention_factor);
  return rope;
}

}  // namespace npr::model
