// The Qwen3 graph for training: a forward that keeps what the backward needs, and the backward.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "model/layers.h"
#include "model/model.h"
#include "model/parameters.h"

namespace npr::model {

// What the backward computes once more, to the same bits, so that it need not be kept. `none`: but what is cheap;
// `mlp`: the gates and ups, which are half of what `none` keeps and a tenth of a step's operations; `layer`: all but
// each layer's input.
enum class Recompute { none, mlp, layer };
// One of "none", "mlp" and "layer".
std::optional<Recompute> recompute_named(std::string_view name);

// The forward is the model's own, over the same KV pool and to the same bits, so that it needs the pool to itself.
// Every token that a row sees must be a row of the batch.
// Thread safety: one thread at a time, and none may use the model between forward() and backward().
class TrainingGraph {
 public:
  // `model` must outlive it. Throws Error(invalid_request) where the model's weights can't be trained (int8).
  TrainingGraph(Model& model, Recompute recompute);
  ~TrainingGraph();

  // Computes all rows, of which there may be more than the model's max_rows; activations grow with the largest batch.
  // `batch` and its paths must outlive backward(). Throws Error(out_of_memory) where activations can't be had.
  void forward(const Batch& batch);
  // Most rows of one call of logits().
  uint32_t head_rows() const { return head_rows_; }
  // Logits [count, vocab] of some rows, the same one maybe twice: a device array, valid until the next call of
  // anything.
  float* logits(std::span<const uint32_t> rows);
  // The array that logits() returned now holds the gradient of the loss with respect to it.
  void logits_backward(GradientSink& gradients);
  // The rest of the backward, once: adds the gradients of everything that logits_backward() was given.
  void backward(GradientSink& gradients);

 private:
  struct Saved;  // of one layer

  void reserve(uint32_t rows);
  LayerBuffers buffers(uint32_t layer);
  void mlp_backward(uint32_t layer, GradientSink& gradients);
  void attention_backward(uint32_t layer, GradientSink& gradients);

  Model& model_;
  compute::Backend& backend_;
  compute::Backward& ops_;
  const Recompute recompute_;
  const uint32_t head_rows_;

  const Batch* batch_ = nullptr;
  uint32_t rows_ = 0, capacity_ = 0;
  std::vector<uint32_t> picked_rows_;           // of the last logits()
  std::vector<Saved> saved_;                    // one a layer, or one for all where they are recomputed
  std::vector<std::shared_ptr<float>> inputs_;  // [rows, hidden] each layer's
  std::shared_ptr<float> residual_;             // [rows, hidden] after the last layer
  std::shared_ptr<float> residual_gradient_;    // [rows, hidden]
  std::shared_ptr<compute::bf16> normed_;       // [rows, hidden]
  std::shared_ptr<compute::bf16> queries_;      // [rows, q_heads, head_dim]
  std::shared_ptr<compute::bf16> inner_;        // [rows, intermediate]
  std::shared_ptr<float> wide_gradient_;        // [rows, max(2 intermediate, (q_heads + 2 kv_heads) head_dim)]
  std::shared_ptr<float> narrow_gradient_;      // [rows, max(intermediate, q_heads head_dim, hidden)]
  std::shared_ptr<float> picked_, picked_gradient_, normed_gradient_;  // [head_rows, hidden]
  std::shared_ptr<compute::bf16> picked_normed_;                       // [head_rows, hidden]
  std::shared_ptr<float> logits_;                                      // [head_rows, vocab]
};

}  // namespace npr::model
