#include "train/lora_parameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "error.h"
#include "sample/philox.h"
#include "train/number_text.h"

namespace npr::train {
namespace {

struct Named {
  LoraTarget target;
  const char *name, *tensor;
};
constexpr Named names[] = {{LoraTarget::q, "q", "self_attn.q_proj"},    {LoraTarget::k, "k", "self_attn.k_proj"},
                           {LoraTarget::v, "v", "self_attn.v_proj"},    {LoraTarget::o, "o", "self_attn.o_proj"},
                           {LoraTarget::gate, "gate", "mlp.gate_proj"}, {LoraTarget::up, "up", "mlp.up_proj"},
                           {LoraTarget::down, "down", "mlp.down_proj"}};

bool is_target(const LoraOptions& options, const std::string& tensor) {
  return std::any_of(std::begin(names), std::end(names), [&](const Named& named) {
    return tensor.ends_with(std::string(".") + named.tensor + ".weight") &&
           std::find(options.targets.begin(), options.targets.end(), named.target) != options.targets.end();
  });
}

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::invalid_request, "lora: " + what); }

void require_valid(const LoraOptions& options, const model::Parameter& parameter, const model::Parameter::Part& part) {
  const uint32_t most = std::min(part.rows, parameter.columns);
  if (options.rank < 1 || options.rank > most)
    refuse("rank: expected 1 to " + std::to_string(most) + ", the smaller side of " + part.name + ", found " +
           std::to_string(options.rank));
}

void require_valid(const LoraOptions& options) {
  if (!std::isfinite(static_cast<float>(options.alpha)) || options.alpha <= 0)
    refuse("alpha: expected a number above 0, found " + number_text(options.alpha));
  if (options.targets.empty()) refuse("targets: expected at least one of q, k, v, o, gate, up, down, found none");
  if (std::set(options.targets.begin(), options.targets.end()).size() != options.targets.size())
    refuse("targets: expected each once");
}

// A and B of every target, in the order of the parameters.
std::vector<model::TensorSpec> tensors_of(model::Model& model, const LoraOptions& options) {
  require_valid(options);
  std::vector<model::TensorSpec> out;
  for (const auto& parameter : model::parameters(model)) {
    for (const auto& part : parameter.parts) {
      if (!is_target(options, part.name)) continue;
      require_valid(options, parameter, part);
      const std::string stem = part.name.substr(0, part.name.size() - std::string("weight").size());
      out.push_back({stem + "lora_A.weight", {options.rank, parameter.columns}});
      out.push_back({stem + "lora_B.weight", {part.rows, options.rank}});
    }
  }
  return out;
}

}  // namespace

LoraParameters::LoraParameters(model::Model& model, const LoraOptions& options)
    : ParameterStore(model, tensors_of(model, options)), options_(options) {
  const auto tensors = arrays_.tensors();
  uint32_t next = 0;
  for (uint32_t index = 0; index < parameters(); ++index) {
    const model::Parameter& parameter = parameters_[index];
    Adapted adapted{index, {}, nullptr};
    uint32_t row = 0;
    for (const auto& part : parameter.parts) {
      if (is_target(options, part.name)) {
        adapted.targets.push_back({row, part.rows, tensors[next].begin, tensors[next + 1].begin});
        initialise(adapted.targets.back(), parameter.columns, next);
        next += 2;
      }
      row += part.rows;
    }
    if (adapted.targets.empty()) continue;
    scratch_bytes_ = std::max(scratch_bytes_, parameter.size() * sizeof(float));
    adapted_.push_back(std::move(adapted));
  }
  for (Adapted& adapted : adapted_) freeze(adapted);
}

void LoraParameters::initialise(const Target& target, uint32_t columns, uint32_t stream) {
  const float bound = 1 / std::sqrt(static_cast<float>(columns));
  std::vector<float> a(size_t{options_.rank} * columns);
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(options_.seed), static_cast<uint32_t>(options_.seed >> 32)};
  for (size_t i = 0; i < a.size(); ++i) {
    const auto words = sample::philox({static_cast<uint32_t>(i / 4), stream, 0, 0}, key);
    a[i] = bound * (static_cast<float>(words[i % 4] >> 8) * 0x1p-23f - 1.0f);
  }
  backend_.upload(arrays_.masters() + target.a, a);
}

void LoraParameters::unpack(const compute::Matrix& matrix, float* out) {
  std::vector<int32_t> rows(matrix.n());
  std::iota(rows.begin(), rows.end(), 0);
  backend_.embed(rows, matrix, out);
}

void LoraParameters::freeze(Adapted& adapted) {
  const model::Parameter& parameter = parameters_[adapted.parameter];
  Scratch& wide = take_scratch(adapted);
  unpack(*parameter.matrix, wide.floats());
  std::vector<float> values(parameter.size());
  backend_.download(wide.floats(), values);
  const compute::HostRows rows{values.data(), compute::DType::f32, parameter.rows};
  adapted.base = backend_.pack({&rows, 1}, parameter.columns);
  wide.user = nullptr;
}

const LoraParameters::Adapted* LoraParameters::find(uint32_t parameter) const {
  const auto at = std::lower_bound(adapted_.begin(), adapted_.end(), parameter,
                                   [](const Adapted& adapted, uint32_t index) { return adapted.parameter < index; });
  return at != adapted_.end() && at->parameter == parameter ? &*at : nullptr;
}

LoraParameters::Scratch& LoraParameters::scratch(const Adapted* user) {
  const auto found =
      std::find_if(scratch_.begin(), scratch_.end(), [&](const Scratch& each) { return each.user == user; });
  if (found != scratch_.end()) return *found;
  ensure(!user, "a gradient that was asked for");
  return scratch_.emplace_back(Scratch{backend_.allocate(scratch_bytes_)});
}

LoraParameters::Scratch& LoraParameters::take_scratch(const Adapted& user) {
  Scratch& taken = scratch(nullptr);
  taken.user = &user;
  return taken;
}

void LoraParameters::forget() {
  for (Scratch& each : scratch_) each.user = nullptr;
}

float* LoraParameters::array(uint32_t parameter) {
  const Adapted* adapted = find(parameter);
  if (!adapted) return nullptr;
  for (const Scratch& each : scratch_) {
    if (each.user == adapted) return each.floats();
  }
  float* gradient = take_scratch(*adapted).floats();
  backend_.backward().zero(gradient, parameters_[parameter].size());
  return gradient;
}

void LoraParameters::done(uint32_t parameter) {
  const Adapted* adapted = find(parameter);
  if (!adapted) return;
  Scratch& gradient = scratch(adapted);
  float* sums = arrays_.gradients();
  for (const Target& target : adapted->targets) {
    backend_.backward().low_rank(factors(*adapted, target),
                                 gradient.floats() + size_t{target.first_row} * parameters_[parameter].columns,
                                 sums + target.a, sums + target.b);
  }
  gradient.user = nullptr;
}

ParameterStore::Range LoraParameters::trained(uint32_t index) const {
  const Adapted* adapted = find(index);
  if (!adapted) return {};
  const Target &first = adapted->targets.front(), &last = adapted->targets.back();
  return {first.a, last.b + size_t{last.rows} * options_.rank};
}

void LoraParameters::apply(uint32_t index) {
  const Adapted* adapted = find(index);
  ensure(adapted, "a parameter that holds a target");
  const model::Parameter& parameter = parameters_[index];
  Scratch& merged = take_scratch(*adapted);
  unpack(*adapted->base, merged.floats());
  for (const Target& target : adapted->targets) {
    backend_.backward().low_rank_add(factors(*adapted, target),
                                     merged.floats() + size_t{target.first_row} * parameter.columns);
  }
  merged.user = nullptr;
  backend_.update(*parameter.matrix, merged.floats());
}

compute::LowRank LoraParameters::factors(const Adapted& adapted, const Target& target) const {
  const float* masters = arrays_.masters();
  return {target.rows,        parameters_[adapted.parameter].columns,
          options_.rank,      static_cast<float>(options_.alpha / options_.rank),
          masters + target.a, masters + target.b};
}

std::vector<ParameterStore::Frozen> LoraParameters::frozen() {
  std::vector<Frozen> out;
  for (const Adapted& adapted : adapted_) {
    const model::Parameter& parameter = parameters_[adapted.parameter];
    uint32_t row = 0;
    for (const auto& part : parameter.parts) {
      out.push_back({{part.name, {part.rows, parameter.columns}}, adapted.base.get(), row});
      row += part.rows;
    }
  }
  return out;
}

std::string LoraParameters::description() const {
  std::string out = "lora of rank " + std::to_string(options_.rank) + ", alpha " + number_text(options_.alpha) + ":";
  for (const Named& named : names) {
    if (std::find(options_.targets.begin(), options_.targets.end(), named.target) != options_.targets.end())
      out += std::string(" ") + named.name;
  }
  return out;
}

}  // namespace npr::train
