#include "compute/cuda/cuda_backward.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/low_rank.h"
#include "compute/cuda/optimizer_step.h"
#include "compute/cuda/rows_backward.h"

namespace npr::compute {
float* CudaBackward::partial(size_t floats) {
  partial_.reserve(floats * sizeof(float), "working memory of the backward");
  return partial_.as<float>();
}

void CudaBackward::rms_norm(const float* g, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps,
                            float* dx, float* dw) {
  float* const sums = dw ? partial(size_t{rows::partial_sums(rows)} * n) : nullptr;
  rows::rms_norm_backward(stream_, g, x, weight, rows, n, eps, dx, dw, sums);
}

void CudaBackward::swiglu(const float* g, const float* gate_up, uint32_t rows, uint32_t n, float* d_gate_up) {
  rows::swiglu_backward(stream_, g, gate_up, rows, n, d_gate_up);
}

void CudaBackward::attention(uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g,
                             float* d_rotated) {
  if (planned_ != batch_.number) attention_.begin(batch_.slots, batch_.sequences);
  planned_ = batch_.number;
  attention_.run(layer, q, out, log_sums, g, d_rotated);
}

void CudaBackward::rotate(const float* qkv, const AttentionWeights& w, float eps, float* d_rotated, float* dq_norm,
                          float* dk_norm) {
  const uint32_t head_dim = pool_.shape().head_dim;
  float* const sums = partial(size_t{rows::partial_sums(batch_.rows)} * 2 * head_dim);
  rows::rotate_backward(stream_, qkv, batch_.rows, q_heads_, pool_.shape().kv_heads, head_dim, w, batch_.rotations, eps,
                        d_rotated, dq_norm, dk_norm, sums);
}

void CudaBackward::zero(float* x, size_t count) { NPR_CUDA(cudaMemsetAsync(x, 0, count * sizeof(float), stream_)); }

void CudaBackward::scatter_add(const float* g, std::span<const uint32_t> pick, uint32_t n, float* dx) {
  const auto count = static_cast<uint32_t>(pick.size());
  if (count == 0) return;
  const size_t bytes = (size_t{3} * count + 1) * sizeof(uint32_t);
  auto* const order = reinterpret_cast<uint32_t*>(staging_.room(bytes));
  uint32_t *const target = order + count, *const first = target + count;
  std::iota(order, order + count, 0u);
  std::stable_sort(order, order + count, [&](uint32_t a, uint32_t b) { return pick[a] < pick[b]; });
  uint32_t groups = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (i > 0 && pick[order[i]] == pick[order[i - 1]]) continue;
    target[groups] = pick[order[i]];
    first[groups++] = i;
  }
  first[groups] = count;
  groups_.reserve(bytes, "rows to add to");
  staging_.send(groups_.as<void>(), bytes);
  const auto* const device = groups_.as<uint32_t>();
  rows::scatter_add(stream_, g, {groups, device + count, device + 2 * size_t{count}, device}, n, dx);
}

void CudaBackward::low_rank(const LowRank& factors, const float* g, float* da, float* db) {
  low_rank_gradients(stream_, factors, g, da, db);
}

double CudaBackward::sum_of_squares(const float* x, size_t count) {
  const size_t chunks = (count + squares_chunk - 1) / squares_chunk;
  if (chunks == 0) return 0;
  auto* const device = reinterpret_cast<double*>(partial(2 * chunks));
  sums_of_squares(stream_, x, count, device);
  std::vector<double> sums(chunks);
  NPR_CUDA(cudaMemcpyAsync(sums.data(), device, chunks * sizeof(double), cudaMemcpyDeviceToHost, stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

void CudaBackward::adamw(const AdamWStep& step, size_t count, float* masters, float* gradients, float* first_moments,
                         float* second_moments) {
  compute::adamw(stream_, step, count, masters, gradients, first_moments, second_moments);
}

void CudaBackward::low_rank_add(const LowRank& factors, float* w) { add_low_rank(stream_, factors, w); }

std::span<float> CudaBackward::borrow(float* x, size_t count) {
  const size_t bytes = count * sizeof(float);
  NPR_CUDA(cudaStreamSynchronize(stream_));  // what was given back may still be read
  borrowed_.reserve(bytes, "logits on the host");
  NPR_CUDA(cudaMemcpyAsync(borrowed_.as<void>(), x, bytes, cudaMemcpyDeviceToHost, stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  return {borrowed_.as<float>(), count};
}

void CudaBackward::give_back(float* x, size_t count) {
  NPR_CUDA(cudaMemcpyAsync(x, borrowed_.as<void>(), count * sizeof(float), cudaMemcpyHostToDevice, stream_));
}

}  // namespace npr::compute
