#include "compute/cpu/cpu_backend.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "compute/cpu/attention.h"
#include "compute/cpu/batch.h"
#include "compute/cpu/bf16_matrix.h"
#include "compute/cpu/cpu_backward.h"
#include "compute/cpu/int8_matrix.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/kv_pool.h"
#include "compute/cpu/linear.h"
#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"
#include "compute/cpu/tiles.h"
#include "error.h"

namespace npr::compute {
namespace {

// Elements of a row operation under which waking the threads costs more than it brings.
constexpr size_t least_elements = size_t{1} << 13;

bool machine_has(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (isa == Isa::amx) return machine_has(Isa::avx512) && may_use_tiles();
  if (isa == Isa::avx512) {
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  }
  if (isa == Isa::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return isa == Isa::plain;
}

const Kernels& choose(Isa isa) {
  struct Choice {
    Isa isa;
    const char* name;
    const Kernels* kernels;
  };
  const Choice choices[] = {{Isa::amx, "amx (AMX with BF16 and INT8 beside AVX-512)", amx_kernels()},
                            {Isa::avx512, "avx512 (AVX-512 with BF16 and VNNI)", avx512_kernels()},
                            {Isa::avx2, "avx2 (AVX2 with FMA)", avx2_kernels()},
                            {Isa::plain, "plain", plain_kernels()}};
  for (const Choice& c : choices) {
    const bool usable = c.kernels && machine_has(c.isa);
    if (usable && (isa == Isa::best || isa == c.isa)) return *c.kernels;
    if (isa == c.isa) {
      throw Error(ErrorCode::invalid_request, std::string("the instruction set ") + c.name +
                                                  " was asked for, but this " + (c.kernels ? "machine" : "build") +
                                                  " lacks it");
    }
  }
  throw Error(ErrorCode::internal, "no kernels");
}

uint32_t thread_count(uint32_t asked) { return asked ? asked : std::max(1u, std::thread::hardware_concurrency()); }

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options)
      : kernels_(choose(options.isa)),
        weights_(options.weights),
        threads_(thread_count(options.threads)),
        linear_(threads_) {}

  std::string description() const override {
    return std::string("cpu ") + kernels_.name + (weights_ == WeightFormat::int8 ? ", int8 weights, " : ", ") +
           std::to_string(threads_.size()) + (threads_.size() == 1 ? " thread" : " threads");
  }

  std::unique_ptr<Matrix> pack(std::span<const HostRows> parts, uint32_t k) override {
    if (weights_ == WeightFormat::int8) return std::make_unique<Int8Matrix>(parts, k, kernels_, threads_);
    return std::make_unique<Bf16Matrix>(parts, k, kernels_, threads_);
  }
  void update(Matrix& matrix, const float* rows) override {
    require_trainable();
    const HostRows all{rows, DType::f32, matrix.n()};
    static_cast<Bf16Matrix&>(matrix).fill({&all, 1}, kernels_, threads_);
  }
  float* floats(size_t count) override {
    return arrays_.emplace_back(count * sizeof(float), "working memory").as<float>();
  }
  bf16* bf16s(size_t count) override { return arrays_.emplace_back(count * sizeof(bf16), "working memory").as<bf16>(); }
  std::shared_ptr<void> allocate(size_t bytes) override {
    auto pages = std::make_shared<Pages>(bytes, "working memory");
    void* const data = pages->as<void>();
    return {std::move(pages), data};
  }
  void upload(float* device, std::span<const float> host) override { std::copy(host.begin(), host.end(), device); }
  void download(const float* device, std::span<float> host) override { std::copy_n(device, host.size(), host.begin()); }

  void allocate_kv(const KvShape& shape, uint32_t slots, uint32_t q_heads, const Rope& rope) override {
    if (shape.head_dim < 16 || shape.head_dim > 256 || shape.head_dim % 16 != 0) {
      throw Error(ErrorCode::invalid_checkpoint, "head_dim is " + std::to_string(shape.head_dim) +
                                                     ", but the CPU backend needs a multiple of 16 from 16 to 256");
    }
    if (shape.kv_heads == 0 || q_heads == 0 || q_heads % shape.kv_heads != 0) {
      throw Error(ErrorCode::invalid_checkpoint, std::to_string(q_heads) + " query heads do not share " +
                                                     std::to_string(shape.kv_heads) + " KV heads evenly");
    }
    ensure(rope.inv_freq.size() == shape.head_dim / 2, "a rotary frequency for every pair of a head");
    backward_.reset();
    attention_.reset();
    pool_ = KvPool(shape, slots);
    q_heads_ = q_heads;
    rope_ = rope;
    attention_.emplace(kernels_, threads_, pool_, q_heads);
  }

  void begin(std::span<const int32_t> positions, std::span<const Slot> slots,
             std::span<const Sequence> sequences) override;
  void embed(std::span<const int32_t> tokens, const Matrix& table, float* out) override;
  void rms_norm(const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, bf16* out) override;
  void linear(const bf16* x, uint32_t rows, const Matrix& w, float* out) override {
    linear_.run(x, rows, static_cast<const PackedMatrix&>(w), out, false);
  }
  void linear_add(const bf16* x, uint32_t rows, const Matrix& w, float* out) override {
    linear_.run(x, rows, static_cast<const PackedMatrix&>(w), out, true);
  }
  void rotate_and_store(uint32_t layer, const float* qkv, const AttentionWeights& w, float eps, bf16* q) override;
  void attention(uint32_t layer, const bf16* q, bf16* out, float* log_sums) override {
    attention_->run(layer, q, out, log_sums);
  }
  void swiglu(const float* gate_up, uint32_t rows, uint32_t n, bf16* out) override;
  void gather(const float* x, std::span<const uint32_t> pick, uint32_t n, float* out) override {
    for (size_t i = 0; i < pick.size(); ++i) std::copy_n(x + size_t{pick[i]} * n, n, out + i * n);
  }
  void copy(const float* from, size_t count, float* to) override { std::copy_n(from, count, to); }
  std::span<const float> host(const float* device, size_t count) override { return {device, count}; }

  Backward& backward() override {
    require_trainable();
    ensure(attention_.has_value(), "the KV pool is set up before training");
    if (!backward_) backward_.emplace(kernels_, threads_, linear_, pool_, q_heads_, batch_);
    return *backward_;
  }

  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override {
    threads_.run(count, [&](uint32_t index, uint32_t) { task(index); });
  }

 private:
  void require_trainable() const {
    if (weights_ != WeightFormat::bf16)
      throw Error(ErrorCode::invalid_request, "weights of int8 can't be trained; expected the model loaded as bf16");
  }

  // task(row) for every row, on all threads where the rows' elements are worth it.
  template <class Task>
  void each_row(uint32_t rows, size_t elements, const Task& task) {
    if (rows * elements < least_elements) {
      for (uint32_t row = 0; row < rows; ++row) task(row);
    } else {
      threads_.run(rows, [&](uint32_t row, uint32_t) { task(row); });
    }
  }

  const Kernels& kernels_;
  const WeightFormat weights_;
  ThreadPool threads_;
  Linear linear_;
  std::vector<Pages> arrays_;
  KvPool pool_;
  uint32_t q_heads_ = 0;
  Rope rope_;
  std::optional<Attention> attention_;
  std::optional<CpuBackward> backward_;  // once asked for
  CpuBatch batch_;
};

void CpuBackend::begin(std::span<const int32_t> positions, std::span<const Slot> slots,
                       std::span<const Sequence> sequences) {
  ensure(attention_.has_value(), "the KV pool is set up before a batch");
  size_t rows = 0;
  for (const Sequence& s : sequences) rows += s.rows;
  ensure(rows == positions.size() && rows == slots.size(), "a position and a slot for every row of the sequences");
  for (Slot slot : slots) ensure(slot < pool_.slots(), "slots lie in the pool");
  ++batch_.number;
  batch_.slots.assign(slots.begin(), slots.end());
  batch_.sequences.assign(sequences.begin(), sequences.end());
  batch_.tile_rows.clear();
  for (uint32_t row = 0; row < rows; ++row) {
    if (row == 0 || slots[row] / tile_slots != slots[row - 1] / tile_slots) batch_.tile_rows.push_back(row);
  }
  batch_.tile_rows.push_back(static_cast<uint32_t>(rows));
  attention_->begin(sequences);

  const size_t pairs = rope_.inv_freq.size();
  batch_.cos.resize(rows * pairs);
  batch_.sin.resize(rows * pairs);
  each_row(static_cast<uint32_t>(rows), pairs * 32, [&](uint32_t row) {
    for (size_t i = 0; i < pairs; ++i) {
      // The angle is rounded to float as the models' own code does it; its cosine is exact from there.
      const double angle = static_cast<float>(positions[row]) * rope_.inv_freq[i];
      batch_.cos[row * pairs + i] = static_cast<float>(std::cos(angle)) * rope_.scale;
      batch_.sin[row * pairs + i] = static_cast<float>(std::sin(angle)) * rope_.scale;
    }
  });
}

void CpuBackend::embed(std::span<const int32_t> tokens, const Matrix& table, float* out) {
  const auto& matrix = static_cast<const PackedMatrix&>(table);
  for (int32_t token : tokens) ensure(token >= 0 && uint32_t(token) < matrix.n(), "tokens lie in the vocabulary");
  each_row(static_cast<uint32_t>(tokens.size()), matrix.k(), [&](uint32_t row) {
    matrix.unpack_row(static_cast<uint32_t>(tokens[row]), out + size_t{row} * matrix.k());
  });
}

void CpuBackend::rms_norm(const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, bf16* out) {
  each_row(rows, n,
           [&](uint32_t row) { kernels_.rms_norm(x + size_t{row} * n, weight, n, eps, out + size_t{row} * n); });
}

void CpuBackend::rotate_and_store(uint32_t layer, const float* qkv, const AttentionWeights& w, float eps, bf16* q) {
  const uint32_t head_dim = pool_.shape().head_dim, kv_heads = pool_.shape().kv_heads;
  const uint32_t heads = q_heads_ + 2 * kv_heads;
  // A tile's keys and values lie across its cache lines, so that one thread writes all that neighbouring rows add, head
  // by head.
  each_row(static_cast<uint32_t>(batch_.tile_rows.size()) - 1, size_t{heads} * head_dim, [&](uint32_t tile) {
    const uint32_t first = batch_.tile_rows[tile], end = batch_.tile_rows[tile + 1];
    for (uint32_t h = 0; h < kv_heads; ++h) pool_.expect_keys(layer, h, batch_.slots[first] / tile_slots);
    const auto head = [&](uint32_t row, uint32_t h) { return qkv + (size_t{row} * heads + h) * head_dim; };
    for (uint32_t row = first; row < end; ++row) {
      for (uint32_t h = 0; h < q_heads_; ++h) {
        kernels_.rotate(head(row, h), w.q_norm, head_dim, eps, batch_.rotation(row, head_dim),
                        q + (size_t{row} * q_heads_ + h) * head_dim);
      }
    }
    for (uint32_t h = 0; h < kv_heads; ++h) {
      for (uint32_t row = first; row < end; ++row) {
        bf16 key[256], value[256];  // head_dim is at most 256
        kernels_.rotate(head(row, q_heads_ + h), w.k_norm, head_dim, eps, batch_.rotation(row, head_dim), key);
        pool_.store_key(layer, h, batch_.slots[row], key);
        kernels_.round(head(row, q_heads_ + kv_heads + h), head_dim, value);
        pool_.store_value(layer, h, batch_.slots[row], value);
      }
    }
  });
}

void CpuBackend::swiglu(const float* gate_up, uint32_t rows, uint32_t n, bf16* out) {
  each_row(rows, size_t{n} * 4, [&](uint32_t row) {
    const float* gate = gate_up + size_t{row} * 2 * n;
    kernels_.swiglu(gate, gate + n, n, out + size_t{row} * n);
  });
}

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) { return std::make_unique<CpuBackend>(options); }

}  // namespace npr::compute
