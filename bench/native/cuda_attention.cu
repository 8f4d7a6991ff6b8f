// Attention on the GPU at Qwen3-4B's shapes (32 query heads, 8 KV heads of 128), one layer: microseconds of a launch,
// and the bytes of keys and values (each read once) or products that are useful work in a second; of the gradient the
// five products that it can't do without.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "compute/cuda/attention.h"
#include "compute/cuda/attention_backward.h"
#include "compute/cuda/cuda_check.h"

using namespace npr::compute;

namespace {

constexpr uint32_t q_heads = 32, kv_heads = 8, head_dim = 128, slots = 300000;

__global__ void fill(uint16_t* out, size_t count) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count; i += size_t{gridDim.x} * blockDim.x) {
    // random signs and fractions, exponents of [0.5, 2)
    const auto x = static_cast<uint32_t>((i + 1) * 0x9e3779b97f4a7c15ull >> 40);
    out[i] = static_cast<uint16_t>(0x3f00 | (x & 0x80ff));
  }
}

struct Batch {
  std::vector<Path> paths;
  std::vector<uint32_t> rows;
};

uint32_t length(const Path& path) {
  uint32_t sum = 0;
  for (const Run& run : path) sum += run.count;
  return sum;
}

// `count` sequences of `own` tokens behind `trunk` shared ones, which append `rows`.
Batch batch(uint32_t count, uint32_t trunk, uint32_t own, uint32_t rows) {
  Batch out;
  for (uint32_t s = 0; s < count; ++s) {
    Path& path = out.paths.emplace_back();
    if (trunk) path.push_back({0, trunk});
    path.push_back({trunk + s * own, own});
    out.rows.push_back(rows);
  }
  return out;
}

class Bench {
 public:
  Bench() : pool_({.layers = 1, .kv_heads = kv_heads, .head_dim = head_dim}, slots) {
    NPR_CUDA(cudaStreamCreate(&stream_));
    NPR_CUDA(cudaEventCreate(&begin_));
    NPR_CUDA(cudaEventCreate(&end_));
    random(pool_.keys(0), size_t{2} * kv_heads * slots * head_dim);
  }
  ~Bench() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }

  void run(const std::string& name, const Batch& batch) {
    std::vector<Sequence> sequences;
    uint32_t rows = 0;
    double pairs = 0;  // of a row and a key it sees
    for (size_t s = 0; s < batch.paths.size(); ++s) {
      const uint32_t all = length(batch.paths[s]), own = batch.rows[s];
      sequences.push_back({batch.paths[s], all, own});
      rows += own;
      pairs += double{1} * own * all - 0.5 * own * (own - 1.0);
    }
    std::vector<Run> runs;
    for (const Path& path : batch.paths) runs.insert(runs.end(), path.begin(), path.end());
    std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
    uint64_t keys = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      if (i == 0 || !(runs[i] == runs[i - 1])) keys += runs[i].count;
    }
    const size_t elements = size_t{rows} * q_heads * head_dim;
    DeviceArray q(elements * sizeof(bf16), "queries"), out(elements * sizeof(bf16), "outputs");
    random(q.as<bf16>(), elements);
    CudaAttention attention(stream_, pool_, q_heads);
    const double plan = time([&] { attention.begin(sequences); }, 3);
    const double launch = time([&] { attention.run(0, q.as<bf16>(), out.as<bf16>(), nullptr); }, 15);
    std::printf("%-34s %9.1f us  %6.2f TB/s  %6.1f TFLOP/s   plan %7.1f us\n", name.c_str(), launch * 1e6,
                keys * 4.0 * kv_heads * head_dim / launch * 1e-12, pairs * 4 * q_heads * head_dim / launch * 1e-12,
                plan * 1e6);
  }

  // Of a prompt and `count` responses to it.
  void run_gradient(uint32_t prompt, uint32_t count, uint32_t own) {
    Batch batch;
    batch.paths.push_back({{0, prompt}});
    batch.rows.push_back(prompt);
    for (uint32_t s = 0; s < count; ++s) {
      batch.paths.push_back({{0, prompt}, {prompt + s * own, own}});
      batch.rows.push_back(own);
    }
    std::vector<Sequence> sequences;
    std::vector<Slot> all_slots;
    double pairs = 0;
    for (size_t s = 0; s < batch.paths.size(); ++s) {
      const uint32_t all = length(batch.paths[s]), rows = batch.rows[s];
      sequences.push_back({batch.paths[s], all, rows});
      pairs += double{1} * rows * all - 0.5 * rows * (rows - 1.0);
    }
    for (Slot slot = 0; slot < prompt + count * own; ++slot) all_slots.push_back(slot);
    const size_t vectors = all_slots.size() * q_heads, elements = vectors * head_dim;
    DeviceArray q(elements * sizeof(bf16), "queries"), out(elements * sizeof(bf16), "outputs");
    DeviceArray log_sums(vectors * sizeof(float), "sums"), g(elements * sizeof(float), "gradients");
    DeviceArray d_rotated(all_slots.size() * (q_heads + 2 * kv_heads) * head_dim * sizeof(float), "gradients");
    random(q.as<bf16>(), elements);
    random(g.as<bf16>(), 2 * elements);
    CudaAttention attention(stream_, pool_, q_heads);
    attention.begin(sequences);
    attention.run(0, q.as<bf16>(), out.as<bf16>(), log_sums.as<float>());
    CudaAttentionBackward backward(stream_, pool_, q_heads);
    const double plan = time([&] { backward.begin(all_slots, sequences); }, 3);
    const double launch = time(
        [&] {
          backward.run(0, q.as<bf16>(), out.as<bf16>(), log_sums.as<float>(), g.as<float>(), d_rotated.as<float>());
        },
        7);
    std::printf(
        "%-34s %9.1f us               %6.1f TFLOP/s   plan %7.1f us\n",
        ("gradient of " + std::to_string(prompt) + " + " + std::to_string(count) + " x " + std::to_string(own)).c_str(),
        launch * 1e6, pairs * 10 * q_heads * head_dim / launch * 1e-12, plan * 1e6);
  }

 private:
  void random(bf16* to, size_t count) {
    fill<<<1024, 256, 0, stream_>>>(to, count);
    NPR_LAUNCHED(fill);
  }

  // Seconds, the median of several.
  double time(const std::function<void()>& work, int times) {
    std::vector<float> all;
    for (int i = 0; i < times + 1; ++i) {
      NPR_CUDA(cudaEventRecord(begin_, stream_));
      work();
      NPR_CUDA(cudaEventRecord(end_, stream_));
      NPR_CUDA(cudaEventSynchronize(end_));
      float ms = 0;
      NPR_CUDA(cudaEventElapsedTime(&ms, begin_, end_));
      if (i) all.push_back(ms);
    }
    std::sort(all.begin(), all.end());
    return all[all.size() / 2] * 1e-3;
  }

  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  CudaKvPool pool_;
};

}  // namespace

int main() {
  Bench bench;
  for (const uint32_t keys : {128u, 512u, 4096u, 32768u}) {
    bench.run("1 branch, " + std::to_string(keys) + " keys", batch(1, 0, keys, 1));
  }
  for (const uint32_t sequences : {8u, 64u, 256u}) {
    bench.run(std::to_string(sequences) + " sequences of 1024 keys", batch(sequences, 0, 1024, 1));
  }
  for (const uint32_t trunk : {4096u, 32768u}) {
    for (const uint32_t branches : {1u, 8u, 64u}) {
      bench.run(std::to_string(branches) + " branches of 200 over " + std::to_string(trunk),
                batch(branches, trunk, 200, 1));
    }
  }
  for (const uint32_t rows : {64u, 512u, 2048u, 8192u, 16384u}) {
    bench.run("prefill of " + std::to_string(rows), batch(1, 0, rows, rows));
  }
  bench.run("prefill of 512 behind 32768", batch(1, 32768, 512, 512));
  bench.run("prefill of 8 x 1024", batch(8, 0, 1024, 1024));
  bench.run_gradient(8192, 0, 0);
  bench.run_gradient(512, 8, 1000);
}
