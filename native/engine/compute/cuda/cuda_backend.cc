#include "compute/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "compute/cpu/thread_pool.h"
#include "compute/cuda/attention.h"
#include "compute/cuda/cuda_backward.h"
#include "compute/cuda/cuda_batch.h"
#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_matrix.h"
#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/cuda_policies.h"
#include "compute/cuda/cuda_stream.h"
#include "compute/cuda/graph_cache.h"
#include "compute/cuda/kv_pool.h"
#include "compute/cuda/linear.h"
#include "compute/cuda/matrix_writer.h"
#include "compute/cuda/rows.h"
#include "compute/cuda/staging.h"
#include "error.h"

namespace npr::compute {
namespace {

// Of larger batches kernels take long enough to be launched one by one meanwhile.
constexpr uint32_t most_graph_rows = 256;

uint32_t thread_count(uint32_t asked) { return asked ? asked : std::max(1u, std::thread::hardware_concurrency()); }

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : threads_(thread_count(options.threads)),
        staging_(stream_),
        writer_(stream_, threads_),
        linear_(stream_),
        policies_(stream_),
        graphs_(stream_) {
    NPR_CUDA(cudaGetDeviceProperties(&device_, 0));
  }
  // Memory goes after the kernels that use it.
  ~CudaBackend() override { cudaStreamSynchronize(stream_); }

  std::string description() const override {
    return std::string("cuda ") + device_.name + " (sm_" + std::to_string(device_.major) +
           std::to_string(device_.minor) + ", " + std::to_string(device_.totalGlobalMem >> 30) + " GiB)";
  }

  std::unique_ptr<Matrix> pack(std::span<const HostRows> parts, uint32_t k) override {
    uint64_t n = 0;
    for (const HostRows& part : parts) n += part.n;
    ensure(n <= UINT32_MAX, "a matrix of fewer than 2^32 rows");
    auto matrix = std::make_unique<CudaMatrix>(static_cast<uint32_t>(n), k);
    writer_.fill(*matrix, parts);
    return matrix;
  }
  void update(Matrix& matrix, const float* rows) override { writer_.fill(static_cast<CudaMatrix&>(matrix), rows); }
  float* floats(size_t count) override {
    return arrays_.emplace_back(count * sizeof(float), "working memory").as<float>();
  }
  bf16* bf16s(size_t count) override { return arrays_.emplace_back(count * sizeof(bf16), "working memory").as<bf16>(); }
  std::shared_ptr<void> allocate(size_t bytes) override {
    auto array = std::make_shared<DeviceArray>(bytes, "working memory");
    void* const data = array->as<void>();
    return {std::move(array), data};
  }
  std::optional<uint64_t> free_memory() const override {
    size_t free = 0, total = 0;
    NPR_CUDA(cudaMemGetInfo(&free, &total));
    return free;
  }
  void upload(float* device, std::span<const float> host) override {
    NPR_CUDA(cudaMemcpyAsync(device, host.data(), host.size_bytes(), cudaMemcpyHostToDevice, stream_));
    NPR_CUDA(cudaStreamSynchronize(stream_));
  }
  void download(const float* device, std::span<float> host) override {
    NPR_CUDA(cudaMemcpyAsync(host.data(), device, host.size_bytes(), cudaMemcpyDeviceToHost, stream_));
    NPR_CUDA(cudaStreamSynchronize(stream_));
  }
  void allocate_kv(const KvShape& shape, uint32_t slots, uint32_t q_heads, const Rope& rope) override;

  void begin(std::span<const int32_t> positions, std::span<const Slot> slots,
             std::span<const Sequence> sequences) override;
  void embed(std::span<const int32_t> tokens, const Matrix& table, float* out) override;
  void rms_norm(const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, bf16* out) override {
    rows::rms_norm(stream_, x, weight, rows, n, eps, out);
  }
  void linear(const bf16* x, uint32_t rows, const Matrix& w, float* out) override {
    linear_.run(x, rows, static_cast<const CudaMatrix&>(w), out, false);
  }
  void linear_add(const bf16* x, uint32_t rows, const Matrix& w, float* out) override {
    linear_.run(x, rows, static_cast<const CudaMatrix&>(w), out, true);
  }
  void rotate_and_store(uint32_t layer, const float* qkv, const AttentionWeights& w, float eps, bf16* q) override {
    rows::rotate_and_store(stream_, qkv, batch_.rows, q_heads_, pool_, layer, w, batch_.rotations, eps, q);
  }
  void attention(uint32_t layer, const bf16* q, bf16* out, float* log_sums) override {
    attention_->run(layer, q, out, log_sums);
  }
  void swiglu(const float* gate_up, uint32_t rows, uint32_t n, bf16* out) override {
    rows::swiglu(stream_, gate_up, rows, n, out);
  }
  void gather(const float* x, std::span<const uint32_t> pick, uint32_t n, float* out) override {
    rows::gather(stream_, x, send(pick), static_cast<uint32_t>(pick.size()), n, out);
  }
  void copy(const float* from, size_t count, float* to) override {
    NPR_CUDA(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToDevice, stream_));
  }
  std::span<const float> host(const float* device, size_t count) override;
  void repeat(const std::function<void()>& step) override {
    if (batch_.rows > most_graph_rows) return step();
    graphs_.run({batch_.rows, attention_->signature()}, step);
  }

  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override {
    threads_.run(count, [&](uint32_t index, uint32_t) { task(index); });
  }
  uint32_t logit_rows() const override { return 256; }
  Policies* policies() override { return &policies_; }
  Backward& backward() override {
    ensure(attention_.has_value(), "the KV pool is set up before training");
    if (!backward_) backward_.emplace(stream_, linear_, pool_, q_heads_, batch_);
    return *backward_;
  }

 private:
  // Numbers of the host, in indices_ once the stream is there.
  template <class T>
  const T* send(std::span<const T> numbers) {
    indices_.reserve(numbers.size_bytes(), "indices");
    std::memcpy(staging_.room(numbers.size_bytes()), numbers.data(), numbers.size_bytes());
    staging_.send(indices_.as<T>(), numbers.size_bytes());
    return indices_.as<T>();
  }

  ThreadPool threads_;
  CudaStream stream_;
  cudaDeviceProp device_{};
  Staging staging_;
  MatrixWriter writer_;
  CudaLinear linear_;
  std::vector<DeviceArray> arrays_;
  DeviceArray indices_;  // of the operation that was sent them last
  PinnedArray host_;     // what host() gave last

  CudaKvPool pool_;
  uint32_t q_heads_ = 0;
  Rope rope_;
  DeviceArray inv_freq_;  // [head_dim / 2]
  std::optional<CudaAttention> attention_;

  CudaPolicies policies_;
  CudaBatch batch_;
  DeviceArray placement_;  // of the batch: positions, then slots [2, rows]
  DeviceArray cos_, sin_;  // [rows, head_dim / 2]
  GraphCache graphs_;
  std::optional<CudaBackward> backward_;  // once asked for
};

void CudaBackend::allocate_kv(const KvShape& shape, uint32_t slots, uint32_t q_heads, const Rope& rope) {
  if (shape.head_dim < 16 || shape.head_dim > 256 || shape.head_dim % 16 != 0) {
    throw Error(ErrorCode::invalid_checkpoint, "head_dim is " + std::to_string(shape.head_dim) +
                                                   ", but the CUDA backend needs a multiple of 16 from 16 to 256");
  }
  if (shape.kv_heads == 0 || q_heads == 0 || q_heads % shape.kv_heads != 0) {
    throw Error(ErrorCode::invalid_checkpoint, std::to_string(q_heads) + " query heads do not share " +
                                                   std::to_string(shape.kv_heads) + " KV heads evenly");
  }
  if (q_heads / shape.kv_heads > CudaAttention::most_group) {
    throw Error(ErrorCode::invalid_checkpoint, std::to_string(q_heads / shape.kv_heads) +
                                                   " query heads share a KV head, but the CUDA backend takes " +
                                                   std::to_string(CudaAttention::most_group) + " at most");
  }
  ensure(rope.inv_freq.size() == shape.head_dim / 2, "a rotary frequency for every pair of a head");
  NPR_CUDA(cudaStreamSynchronize(stream_));
  graphs_.clear();
  backward_.reset();
  attention_.reset();
  pool_ = CudaKvPool();  // the old one's memory may be what the new one needs
  pool_ = CudaKvPool(shape, slots);
  q_heads_ = q_heads;
  rope_ = rope;
  inv_freq_ = DeviceArray(rope.inv_freq.size() * sizeof(float), "rotary frequencies");
  upload(inv_freq_.as<float>(), rope.inv_freq);
  attention_.emplace(stream_, pool_, q_heads);
}

void CudaBackend::begin(std::span<const int32_t> positions, std::span<const Slot> slots,
                        std::span<const Sequence> sequences) {
  ensure(attention_.has_value(), "the KV pool is set up before a batch");
  size_t rows = 0;
  for (const Sequence& s : sequences) rows += s.rows;
  ensure(rows == positions.size() && rows == slots.size(), "a position and a slot for every row of the sequences");
  for (Slot slot : slots) ensure(slot < pool_.slots(), "slots lie in the pool");
  ++batch_.number;
  batch_.rows = static_cast<uint32_t>(rows);
  batch_.slots.assign(slots.begin(), slots.end());
  batch_.sequences.assign(sequences.begin(), sequences.end());
  attention_->begin(sequences);

  const size_t pairs = rope_.inv_freq.size(), half = positions.size_bytes();
  const size_t table = rows * pairs * sizeof(float);
  if (placement_.bytes() < 2 * half || cos_.bytes() < table || sin_.bytes() < table) graphs_.clear();  // they move
  placement_.reserve(2 * half, "a batch");
  cos_.reserve(table, "a batch");
  sin_.reserve(table, "a batch");
  std::byte* const room = staging_.room(2 * half);
  std::memcpy(room, positions.data(), half);
  std::memcpy(room + half, slots.data(), half);
  staging_.send(placement_.as<void>(), 2 * half);
  // Graphs know where rows of their number lie.
  const auto* const at = placement_.as<int32_t>();
  batch_.rotations = {reinterpret_cast<const Slot*>(at + rows), cos_.as<float>(), sin_.as<float>()};
  rows::rotations(stream_, at, batch_.rows, inv_freq_.as<float>(), static_cast<uint32_t>(pairs), rope_.scale,
                  cos_.as<float>(), sin_.as<float>());
}

void CudaBackend::embed(std::span<const int32_t> tokens, const Matrix& table, float* out) {
  const auto& matrix = static_cast<const CudaMatrix&>(table);
  for (int32_t token : tokens) ensure(token >= 0 && uint32_t(token) < matrix.n(), "tokens lie in the vocabulary");
  rows::embed(stream_, send(tokens), static_cast<uint32_t>(tokens.size()), matrix, out);
}

std::span<const float> CudaBackend::host(const float* device, size_t count) {
  const size_t bytes = count * sizeof(float);
  host_.reserve(bytes, "copies from the GPU");
  NPR_CUDA(cudaMemcpyAsync(host_.as<void>(), device, bytes, cudaMemcpyDeviceToHost, stream_));
  NPR_CUDA(cudaStreamSynchronize(stream_));
  return {host_.as<float>(), count};
}

// Of a block, that attention with heads of 256 takes: GPUs of compute capability 8.0, 9.0 and 10.0 have them.
constexpr int least_shared_bytes = 160 << 10;

// Why the first GPU can't be used; empty where it can.
std::string why_not() {
  const std::string driver = std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
  int devices = 0, major = 0, minor = 0, shared = 0;
  const auto get = [](int& value, cudaDeviceAttr attribute) {
    return cudaDeviceGetAttribute(&value, attribute, 0) == cudaSuccess;
  };
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0 || !get(major, cudaDevAttrComputeCapabilityMajor) ||
      !get(minor, cudaDevAttrComputeCapabilityMinor) || !get(shared, cudaDevAttrMaxSharedMemoryPerBlockOptin)) {
    return "this machine has no NVIDIA GPU with a driver for CUDA " + driver;
  }
  if (major < 8 || shared < least_shared_bytes) {
    return "the GPU is of compute capability " + std::to_string(major) + "." + std::to_string(minor) +
           "; expected one whose blocks have 160 KiB of shared memory, such as 8.0, 9.0 or 10.0";
  }
  if (!rows::runnable()) {
    return "this program was not built for its GPU's architecture; build it on this machine, or name the architecture "
           "in the CMake option NPR_CUDA_ARCHITECTURES, as in -DNPR_CUDA_ARCHITECTURES=80";
  }
  return {};
}

}  // namespace

bool cuda_device_available() { return why_not().empty(); }

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  if (const std::string reason = why_not(); !reason.empty())
    throw Error(ErrorCode::invalid_request, "the device cuda was asked for, but " + reason);
  return std::make_unique<CudaBackend>(options);
}

}  // namespace npr::compute
