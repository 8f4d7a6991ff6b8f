// The border between the backend and its instruction sets: one table of functions each.
//
// The kernels are compiled once per instruction set with its own compiler options. Everything in those units has
// internal linkage and this header holds plain data only: a shared inline function might be emitted with AVX-512
// code there and be picked by the linker for all.
#pragma once
#include <cstddef>
#include <cstdint>

#include "compute/attention_spans.h"

namespace npr::compute {

using bf16 = uint16_t;

// Slots of one tile of the key cache.
constexpr uint32_t tile_slots = 16;

// Outputs of one panel of a packed matrix.
constexpr uint32_t panel_columns = 16;

// out [rows, columns] = x [rows, k] . panels^T, for neighbouring panels of a packed matrix.
struct LinearTask {
  const void* x;            // rows of operands, one after another, or as they were arranged
  uint32_t rows, k;         // k is even
  uint32_t tile_rows;       // that are multiplied at once
  bool arranged;            // the rows of each tile
  const std::byte* panels;  // in the matrix's format
  uint32_t columns;         // of these panels that exist in the matrix
  const float* scales;      // [columns] that the sums are multiplied by; or null
  const std::byte* next;    // panels of the same thread's next task, to be prefetched; or null
  float* out;               // row r at out + r * out_stride
  size_t out_stride;
  bool add;        // out += the finished sum
  float* scratch;  // [panels, rows up to whole tiles, panel_columns] to work in
};

// Rows whose columns become left operands at once.
constexpr uint32_t gradient_column_rows = 32;

// What multiplies by matrices of one format, whose panels are [k / depth][panel_columns][depth], k rounded up to whole
// cache lines.
struct LinearKernels {
  uint32_t depth;
  uint32_t block_rows;  // most of a task: their operands stay in L2 while its panels pass by
  size_t (*operand_row_bytes)(uint32_t k);
  void (*operands)(const bf16* x, uint32_t k, void* out);  // one row; null: rows of bf16 as they are
  // Rows of a tile, of `rows` that are multiplied; and panels that so many rows are multiplied by at once. A task
  // begins with a tile, and has a multiple of these panels.
  uint32_t (*tile_rows)(uint32_t rows);
  uint32_t (*tile_panels)(uint32_t tile_rows);
  // The rows of a tile, to `out` + (the first row) * operand_row_bytes. Null, or fewer than least_arranged in a call:
  // one row after another, as they are, operand_row_bytes each.
  void (*arrange)(const void* x, uint32_t rows, uint32_t k, void* out);
  uint32_t least_arranged;
  void (*multiply)(const LinearTask&);
};

// Keys first .. first + count - 1 of a chunk are lanes lane .. of `tile` [head_dim / 2][tile_slots][2].
struct KeyPiece {
  const bf16* tile;
  uint8_t lane, first, count;
};

// Key tiles of a chunk to be prefetched, each followed by its values, as many lines; or nulls.
constexpr uint32_t next_tiles = chunk_keys / tile_slots;
struct NextTiles {
  const bf16* tile[next_tiles];
};

// Folds one chunk of keys into the running softmax of `vectors` query vectors.
struct ChunkTask {
  uint32_t head_dim, vectors;
  const void* q;           // operands [vectors, head_dim]
  const uint8_t* visible;  // [vectors] keys that each sees, 1 .. keys
  const KeyPiece* pieces;  // cover keys 0 .. keys - 1 in order
  uint32_t piece_count;
  const bf16* const* values;  // [keys] every second element from there on: the pool's lanes [head_dim][2]
  bool paired;                // keys 2 i and 2 i + 1 are the two lanes of a pair, in this order, for every i
  uint32_t keys;              // at most chunk_keys
  NextTiles next;             // of the chunk that the caller will ask for next
  float scale;
  float* max;           // [vectors] -infinity at first
  float* sum;           // [vectors] 0 at first
  float* out;           // [vectors, head_dim] 0 at first
  void* probabilities;  // operands [vectors, chunk_keys] to work in
};

// The gradients of one chunk of keys and values, and what it adds to those of the query vectors that see it. p and s
// below: probabilities exp(scale q . k - log_sum), scores' gradients p (g . v - delta) scale.
struct ChunkBackwardTask {
  uint32_t head_dim, vectors, keys;  // keys: at most chunk_keys
  const void* q;                     // operands [vectors, head_dim]
  const void* g;                     // operands [vectors, head_dim]: gradients of the outputs
  const bf16* q_rows;                // [vectors, head_dim]
  const bf16* g_rows;                // [vectors, head_dim]
  const uint8_t* visible;            // [vectors] keys that each sees, 1 .. keys
  const float* log_sums;             // [vectors]
  const float* deltas;               // [vectors] g . out
  const bf16* key_tiles;             // [chunk_keys / tile_slots][head_dim / 2][tile_slots][2]
  const bf16* value_tiles;           // likewise
  const bf16* key_rows;              // [chunk_keys, head_dim]; those beyond `keys` are zero, in the tiles too
  float scale;
  float* dq;  // [vectors, head_dim] += s . k
  float* dk;  // [chunk_keys, head_dim] += s^T . q
  float* dv;  // [chunk_keys, head_dim] += p^T . g
};

// Rotary position of one row.
struct Rotation {
  const float* cos;  // [head_dim / 2]
  const float* sin;
};

struct Kernels {
  const char* name;
  // Bytes of an element of a left operand: bf16 itself, or float where a machine multiplies nothing narrower.
  uint32_t operand_bytes;
  void (*operands)(const bf16* x, uint32_t n, void* out);         // out [n] = x [n]
  void (*float_operands)(const float* x, uint32_t n, void* out);  // the same, rounded where operands are bf16
  LinearKernels bf16_linear;
  LinearKernels int8_linear;
  int32_t int8_bias;  // that is added to weights in their panels
  void (*attend)(const ChunkTask&);
  // Softmax partials merged in order: total (max, sum, out [n]) takes in a later span's. The empty set is
  // (-infinity, 0, zeros) and changes nothing.
  void (*merge)(float* max, float* sum, float* out, float span_max, float span_sum, const float* span_out, uint32_t n);
  // out [n] = x [n] / sum
  void (*finish)(const float* x, float sum, uint32_t n, bf16* out);
  void (*rms_norm)(const float* x, const float* weight, uint32_t n, float eps, bf16* out);
  // RMS norm of one head, then its rotation. `x` and `out` may not overlap.
  void (*rotate)(const float* x, const float* weight, uint32_t head_dim, float eps, const Rotation& at, bf16* out);
  void (*round)(const float* x, uint32_t n, bf16* out);
  // out [n] = silu(gate [n]) * up [n]
  void (*swiglu)(const float* gate, const float* up, uint32_t n, bf16* out);

  // --- backward; g: gradient of the output ---
  // Left operands for bf16_linear.multiply over k elements, arranged; zeros where g has none. Rows of g [rows, n],
  // those of a tile, `stride` apart; or columns of g [rows, n], at most gradient_column_rows, as elements `first`
  // onwards, a multiple of that, of n rows.
  void (*gradient_rows)(const float* g, size_t stride, uint32_t rows, uint32_t n, uint32_t k, void* out);
  void (*gradient_columns)(const float* g, size_t stride, uint32_t rows, uint32_t n, uint32_t first, uint32_t k,
                           void* out);
  // Panels of bf16, panel_bytes apart, that have x [rows, k] as elements `first` onwards of k columns. `first` is even;
  // an odd number of rows has zeros behind it.
  void (*gradient_panels)(const bf16* x, uint32_t rows, uint32_t k, uint32_t first, size_t panel_bytes, void* out);
  void (*attend_backward)(const ChunkBackwardTask&);
  // out [n] += x [n]
  void (*add)(const float* x, uint32_t n, float* out);
  // dx [n] += ..., dw [n] += ...
  void (*rms_norm_backward)(const float* g, const float* x, const float* weight, uint32_t n, float eps, float* dx,
                            float* dw);
  // dx may be g.
  void (*rotate_backward)(const float* g, const float* x, const float* weight, uint32_t head_dim, float eps,
                          const Rotation& at, float* dx, float* dw);
  void (*swiglu_backward)(const float* g, const float* gate, const float* up, uint32_t n, float* d_gate, float* d_up);
};

// Null where this build has no such instructions. Whether the machine has them is the caller's to check.
const Kernels* amx_kernels();
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();
const Kernels* plain_kernels();

}  // namespace npr::compute
