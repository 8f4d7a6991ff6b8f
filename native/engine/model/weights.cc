#include "model/weights.h"

#include <cstring>
#include <initializer_list>
#include <string>

#include "compute/convert.h"
#include "error.h"
#include "model/tensors.h"

namespace npr::model {
namespace {

compute::DType dtype_of(const Tensor& tensor) {
  return tensor.dtype == "BF16"  ? compute::DType::bf16
         : tensor.dtype == "F16" ? compute::DType::f16
                                 : compute::DType::f32;
}

std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<float> out(tensor.bytes.size() / (tensor.dtype == "F32" ? 4 : 2));
  if (tensor.dtype == "F32") {
    std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
    return out;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, tensor.bytes.data() + 2 * i, sizeof bits);
    out[i] = tensor.dtype == "BF16" ? compute::to_float(bits) : compute::half_to_float(bits);
  }
  return out;
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, compute::Backend& backend,
         const std::function<void(uint64_t, uint64_t)>& progress)
      : checkpoint_(checkpoint), backend_(backend), progress_(progress), total_(checkpoint.bytes()) {}

  // The tensors' rows, stacked.
  std::unique_ptr<compute::Matrix> matrix(std::initializer_list<std::string> names) {
    std::vector<compute::HostRows> parts;
    std::vector<std::vector<std::byte>> copies;
    for (const std::string& name : names) {
      const Tensor& tensor = checkpoint_.tensor(name);
      const void* data = tensor.bytes.data();
      // A header of odd length leaves every tensor of its file unaligned.
      if (reinterpret_cast<uintptr_t>(data) % (tensor.dtype == "F32" ? 4 : 2)) {
        data = copies.emplace_back(tensor.bytes.begin(), tensor.bytes.end()).data();
      }
      parts.push_back({data, dtype_of(tensor), static_cast<uint32_t>(tensor.shape[0])});
    }
    const uint64_t columns = checkpoint_.tensor(*names.begin()).shape[1];
    auto packed = pack(parts, static_cast<uint32_t>(columns), names);
    for (const std::string& name : names) done(checkpoint_.tensor(name));
    return packed;
  }

  float* vector(const std::string& name) {
    const Tensor& tensor = checkpoint_.tensor(name);
    checkpoint_.require_finite(tensor);
    const std::vector<float> values = floats_of(tensor);
    float* device = backend_.floats(values.size());
    backend_.upload(device, values);
    done(tensor);
    return device;
  }

 private:
  std::unique_ptr<compute::Matrix> pack(std::span<const compute::HostRows> parts, uint32_t columns,
                                        std::initializer_list<std::string> names) {
    try {
      return backend_.pack(parts, columns);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_checkpoint) throw;
      // The backend meets what is not finite on its way, but can't name it.
      for (const std::string& name : names) checkpoint_.require_finite(checkpoint_.tensor(name));
      throw;
    }
  }
  void done(const Tensor& tensor) {
    checkpoint_.release(tensor);
    done_ += tensor.bytes.size();
    if (progress_) progress_(done_, total_);
  }

  const Checkpoint& checkpoint_;
  compute::Backend& backend_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  uint64_t done_ = 0, total_;
};

}  // namespace

Weights load_weights(const Checkpoint& checkpoint, compute::Backend& backend,
                     const std::function<void(uint64_t, uint64_t)>& progress) {
  const Config& config = checkpoint.config();
  Loader load(checkpoint, backend, progress);
  Weights weights;
  weights.embedding = load.matrix({embedding_name});
  for (uint32_t i = 0; i < config.num_hidden_layers; ++i) {
    const auto name = [&](const char* part) { return layer_tensor(i, part); };
    LayerWeights layer;
    layer.input_norm = load.vector(name("input_layernorm"));
    layer.qkv = load.matrix({name("self_attn.q_proj"), name("self_attn.k_proj"), name("self_attn.v_proj")});
    layer.q_norm = load.vector(name("self_attn.q_norm"));
    layer.k_norm = load.vector(name("self_attn.k_norm"));
    layer.attention_out = load.matrix({name("self_attn.o_proj")});
    layer.mlp_norm = load.vector(name("post_attention_layernorm"));
    layer.gate_up = load.matrix({name("mlp.gate_proj"), name("mlp.up_proj")});
    layer.down = load.matrix({name("mlp.down_proj")});
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = load.vector(final_norm_name);
  if (!config.tie_word_embeddings) weights.own_head = load.matrix({head_name});
  return weights;
}

}  // namespace npr::model
