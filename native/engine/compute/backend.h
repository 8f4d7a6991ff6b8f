// The operations that a model is made of. One interface; cpu/ and cuda/ implement it.
//
// Everything enters as *append these tokens to these sequences*: a batch of `rows` tokens, grouped into sequences.
// Bits: what a row computes depends on the weights and on its own visible path alone, never on the other rows, on how
// the path lies over slots, or on the thread count.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace npr::compute {

using bf16 = uint16_t;  // the upper half of an IEEE float

// A slot holds the keys and values of one token in every layer.
using Slot = uint32_t;

// Consecutive slots [begin, begin + count).
struct Run {
  Slot begin;
  uint32_t count;
  bool operator==(const Run&) const = default;
};

// The slots of a visible path, in path order.
using Path = std::vector<Run>;

// The last `rows` tokens of `path` (`length` tokens long) are rows of this batch; row i of them sees
// path[0, length - rows + i + 1). A path may hold slots that another sequence of the same batch fills.
struct Sequence {
  std::span<const Run> path;
  uint32_t length;
  uint32_t rows;
};

// A weight matrix [n, k] in the backend's own packing.
class Matrix {
 public:
  virtual ~Matrix() = default;
  virtual uint32_t n() const = 0;
  virtual uint32_t k() const = 0;
};

enum class DType { bf16, f16, f32 };

// `n` rows of a row-major [n, k] host array; several of them are packed as one matrix, stacked along n.
struct HostRows {
  const void* data;
  DType dtype;
  uint32_t n;
};

struct KvShape {
  uint32_t layers;
  uint32_t kv_heads;
  uint32_t head_dim;
  // Bytes of one slot: keys and values, bf16.
  uint64_t slot_bytes() const { return uint64_t{4} * layers * kv_heads * head_dim; }
};

// Rotary embedding: angle of pair i at position p is p * inv_freq[i]; cosine and sine are multiplied by `scale`
// (1, or YaRN's attention factor).
struct Rope {
  std::vector<float> inv_freq;  // [head_dim / 2]
  float scale = 1.0f;
};

// Heads of one attention layer. `q_norm`, `k_norm`: [head_dim], device arrays.
struct AttentionWeights {
  const float* q_norm;
  const float* k_norm;
};

class Backward;
class Policies;

// Thread safety: one thread at a time calls a backend; it uses its own threads inside a call.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string description() const = 0;  // "cpu avx512, 2 threads"

  // --- memory ---
  // Throws Error(invalid_checkpoint) where a value is NaN, infinite, or so large that it is infinite as bf16.
  virtual std::unique_ptr<Matrix> pack(std::span<const HostRows> parts, uint32_t k) = 0;
  // New contents for a packed matrix, in place, with the bits of a fresh one: `rows` is a device array [n, k]. Throws
  // as pack() does, and leaves the contents undefined then; Error(invalid_request) where the matrix is int8: training
  // needs bf16 weights.
  virtual void update(Matrix& matrix, const float* rows) = 0;
  // Device arrays, freed with the backend. Contents start as zero.
  virtual float* floats(size_t count) = 0;
  virtual bf16* bf16s(size_t count) = 0;
  // Device memory, zeroed, which goes with the last who holds it. Throws Error(out_of_memory).
  virtual std::shared_ptr<void> allocate(size_t bytes) = 0;
  // Bytes of device memory that nobody has yet; none where it is the system's memory.
  virtual std::optional<uint64_t> free_memory() const { return {}; }
  // Copies host floats to a device array, and back. Both return once `host` may be changed or read.
  virtual void upload(float* device, std::span<const float> host) = 0;
  virtual void download(const float* device, std::span<float> host) = 0;
  // Sets up the KV pool: `slots` slots; throws Error(out_of_memory) where they can't be had.
  virtual void allocate_kv(const KvShape& shape, uint32_t slots, uint32_t q_heads, const Rope& rope) = 0;

  // --- one forward step; shapes in comments, arrays row-major ---
  // Declares the batch that the calls below work on. positions, slots: [rows]. Sequences' rows are consecutive.
  virtual void begin(std::span<const int32_t> positions, std::span<const Slot> slots,
                     std::span<const Sequence> sequences) = 0;
  // out [tokens, k] = the rows of `table` [vocab, k].
  virtual void embed(std::span<const int32_t> tokens, const Matrix& table, float* out) = 0;
  // out [rows, n] = x / sqrt(mean(x^2) + eps) * weight, rounded to bf16.
  virtual void rms_norm(const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, bf16* out) = 0;
  // out [rows, n] = x [rows, k] . w^T, or out += that. One accumulator an output, k in order.
  virtual void linear(const bf16* x, uint32_t rows, const Matrix& w, float* out) = 0;
  virtual void linear_add(const bf16* x, uint32_t rows, const Matrix& w, float* out) = 0;
  // qkv [rows, (q_heads + 2 kv_heads) head_dim] -> per-head RMS norm of q and k, rotation, q [rows, q_heads, head_dim];
  // keys and values go to the rows' slots.
  virtual void rotate_and_store(uint32_t layer, const float* qkv, const AttentionWeights& w, float eps, bf16* q) = 0;
  // out [rows, q_heads, head_dim]: softmax(q . k / sqrt(head_dim)) . v over each row's visible path. log_sums
  // [rows, q_heads]: natural logarithm of each softmax's sum, for the backward; null where not wanted.
  virtual void attention(uint32_t layer, const bf16* q, bf16* out, float* log_sums) = 0;
  // gate_up [rows, 2 n] -> out [rows, n] = silu(gate) * up.
  virtual void swiglu(const float* gate_up, uint32_t rows, uint32_t n, bf16* out) = 0;
  // out [picked, n] = rows `pick` of x [rows, n].
  virtual void gather(const float* x, std::span<const uint32_t> pick, uint32_t n, float* out) = 0;
  virtual void copy(const float* from, size_t count, float* to) = 0;
  // Host view of a device array, valid until the next call of this, or one that writes it.
  virtual std::span<const float> host(const float* device, size_t count) = 0;
  // Calls step(), or does what it did before. Its calls work on the batch declared last, are none of those that take
  // numbers of the host (embed, gather, host), and pass the same arrays whenever a batch has as many rows: a backend
  // may keep them and start them all at once.
  virtual void repeat(const std::function<void()>& step) { step(); }

  // Runs task(0) .. task(count - 1) on the backend's threads; for host work such as sampling.
  virtual void parallel(uint32_t count, const std::function<void(uint32_t)>& task) = 0;

  // Most rows whose logits are computed at a time: the head's weights are read once each time.
  virtual uint32_t logit_rows() const { return 64; }
  // Looks at logits where they lie; null where that is the host's memory, and the host's own code does.
  virtual Policies* policies() { return nullptr; }
  // What training adds; throws Error(invalid_request) where these weights can't be trained.
  virtual Backward& backward() = 0;
};

}  // namespace npr::compute
