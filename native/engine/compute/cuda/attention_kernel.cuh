// Attention of one item: some rows' query vectors, of the heads that share a KV head, against spans of one path.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_plan.h"
#include "compute/cuda/attention_softmax.cuh"
#include "compute/cuda/attention_warp.cuh"

namespace npr::compute {

constexpr uint32_t attention_threads = 128;
constexpr uint32_t attention_total_pieces = 32;  // float4s of a thread's outputs, at most

// The plan in device memory: this, then arrays that begin so many bytes behind its start.
struct AttentionHeader {
  uint32_t items, merges;
  uint32_t rows_at, items_at, merges_at, ids_at, paths_at, runs_at;

  template <class T>
  __device__ const T* array(uint32_t at) const {
    return reinterpret_cast<const T*>(reinterpret_cast<const uint8_t*>(this) + at);
  }
};

struct AttentionArguments {
  const AttentionHeader* plan;
  const Slot* slots;              // of all paths
  const uint16_t *keys, *values;  // [kv head][slot][head_dim]
  const uint16_t* q;              // [rows, q_heads, head_dim]
  uint16_t* out;                  // [rows, q_heads, head_dim]
  float* log_sums;                // [rows, q_heads], or null
  float* partial_outs;            // [partials, q_heads, D]
  SpanSum* partial_sums;          // [partials, q_heads]
  float4* totals;                 // [blocks][pieces of a thread][threads]: outputs of an item's spans so far
  uint32_t pool_slots, kv_heads, group, head_dim;
  float scale;  // log2(e) / sqrt(head_dim)
};

// How the four warps of a block divide an item: `row_warps` times `tiles` tiles of 16 query vectors, by `column_warps`
// parts of the output's D columns (for which each computes all scores anew, cheaper than to exchange them). `stages`
// chunks of keys and values are on their way or at work.
template <int D_, int tiles_, int row_warps_, int column_warps_, int stages_>
struct AttentionShape {
  static constexpr int D = D_, tiles = tiles_, row_warps = row_warps_, column_warps = column_warps_, stages = stages_;
  static constexpr int vectors = 16 * tiles * row_warps, columns = D / column_warps, pieces = D / 8;
  static constexpr uint32_t chunk_bytes = chunk_keys * D * 2;
  // Shared memory: queries, stages of keys and values, slots of chunks to come, rows.
  static constexpr uint32_t chunks_at = vectors * D * 2, slots_at = chunks_at + stages * 2 * chunk_bytes,
                            slot_ring = 2 * stages, rows_at = slots_at + slot_ring * chunk_keys * 4,
                            bytes = rows_at + vectors * sizeof(AttentionRow);
  static_assert(row_warps * column_warps * 32 == attention_threads && tiles * columns / 8 <= attention_total_pieces);
};
template <int D>
using NarrowShape = AttentionShape<D, 1, 1, 4, D == 256 ? 2 : 3>;
template <int D>
using MiddleShape = AttentionShape<D, 2, 1, 4, D == 256 ? 2 : 3>;
template <int D>
using WideShape = AttentionShape<D, 2, D == 256 ? 2 : 4, D == 256 ? 2 : 1, 2>;

template <class S>
struct AttentionItemRun {
  const AttentionArguments& a;
  const AttentionItem& item;
  const uint32_t head;  // of keys
  uint8_t* const memory;
  const uint32_t base = shared_address(memory);
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t row_warp = warp % S::row_warps, column_warp = warp / S::row_warps;
  const uint32_t first_chunk = item.first_span * (span_keys / chunk_keys);
  uint32_t chunks = 0;
  // What this thread's vectors, and all of its warp, see.
  uint32_t visible[S::tiles][2], least = 0, most = 0;
  // Of the span so far; sums are the thread's own share.
  float out[S::tiles][S::columns / 8][4];
  SpanSum span[S::tiles][2];
  SpanSum total[S::tiles][2];

  __device__ __forceinline__ AttentionRow* rows() const { return reinterpret_cast<AttentionRow*>(memory + S::rows_at); }
  __device__ __forceinline__ uint32_t keys_at(uint32_t chunk) const {
    return base + S::chunks_at + chunk % S::stages * 2 * S::chunk_bytes;
  }
  __device__ __forceinline__ uint32_t vector_of(uint32_t tile, uint32_t half) const {
    return (row_warp * S::tiles + tile) * 16 + half * 8 + lane / 4;
  }
  __device__ __forceinline__ size_t q_heads() const { return size_t{a.kv_heads} * a.group; }
  __device__ __forceinline__ size_t q_head(uint32_t vector) const { return size_t{head} * a.group + vector % a.group; }

  // Chunks count from the item's first.
  __device__ __forceinline__ void load_slots(uint32_t chunk) {
    const uint32_t key = (first_chunk + chunk) * chunk_keys + threadIdx.x;
    if (chunk < chunks && threadIdx.x < chunk_keys && key < item.keys) {
      copy_4(base + S::slots_at + (chunk % S::slot_ring * chunk_keys + threadIdx.x) * 4, a.slots + item.path + key);
    }
  }

  // Keys and values that no row of the item sees, and columns beyond head_dim, become zeros.
  __device__ __forceinline__ void load_chunk(uint32_t chunk) {
    if (chunk >= chunks) return;
    const Slot* slots = reinterpret_cast<const Slot*>(memory + S::slots_at) + chunk % S::slot_ring * chunk_keys;
    const uint32_t seen = item.keys - (first_chunk + chunk) * chunk_keys;
    const uint32_t piece = threadIdx.x % S::pieces, to = keys_at(chunk);
    const size_t before = size_t{head} * a.pool_slots * a.head_dim + piece * 8;
#pragma unroll
    for (uint32_t key = threadIdx.x / S::pieces; key < chunk_keys; key += attention_threads / S::pieces) {
      const bool real = key < seen && piece * 8 < a.head_dim;
      const size_t from = real ? before + size_t{slots[key]} * a.head_dim : 0;
      copy_16(to + swizzled<S::D>(key, piece), a.keys + from, real);
      copy_16(to + S::chunk_bytes + swizzled<S::D>(key, piece), a.values + from, real);
    }
  }

  __device__ __forceinline__ void load_queries() {
    const uint32_t count = item.rows * a.group;
    for (uint32_t i = threadIdx.x; i < S::vectors * S::pieces; i += attention_threads) {
      const uint32_t vector = i / S::pieces, piece = i % S::pieces;
      const bool real = vector < count && piece * 8 < a.head_dim;
      const size_t from =
          real ? (rows()[vector / a.group].row * q_heads() + q_head(vector)) * a.head_dim + piece * 8 : 0;
      copy_16(base + swizzled<S::D>(vector, piece), a.q + from, real);
    }
  }

  __device__ __forceinline__ void run() {
    const AttentionRow* order = a.plan->array<AttentionRow>(a.plan->rows_at) + item.first;
    const uint32_t end_key = min(item.keys, (item.first_span + item.spans) * span_keys);
    chunks = (end_key - first_chunk * chunk_keys + chunk_keys - 1) / chunk_keys;
    __syncthreads();  // the item before has been read
    if (threadIdx.x < item.rows) rows()[threadIdx.x] = order[threadIdx.x];
    for (int chunk = 0; chunk < S::stages - 1; ++chunk) load_slots(chunk);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    load_queries();
    // a chunk's group brings the slots of that which is loaded while the chunk is at work
    for (int chunk = 0; chunk < S::stages - 1; ++chunk) {
      load_chunk(chunk);
      load_slots(chunk + S::stages - 1);
      commit_copies();
    }
    const uint32_t count = item.rows * a.group;
    const bool at_work = row_warp * S::tiles * 16 < count;
    read_visible(count);
    clear();
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      wait_copies<S::stages - 2>();
      __syncthreads();
      load_chunk(chunk + S::stages - 1);
      load_slots(chunk + 2 * (S::stages - 1));
      commit_copies();
      if (!at_work) continue;
      const uint32_t key = (first_chunk + chunk) * chunk_keys;
      if (key < most) attend(keys_at(chunk), key);
      const bool last = chunk + 1 == chunks;
      if (last || (chunk + 1) % (span_keys / chunk_keys) == 0) end_span(chunk / (span_keys / chunk_keys), last);
    }
    if (at_work) write(count);
  }

  // Vectors beyond the item's, zeros, see what the last does, so that they neither widen nor narrow anything.
  __device__ __forceinline__ void read_visible(uint32_t count) {
    least = UINT32_MAX;
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      for (int half = 0; half < 2; ++half) {
        const uint32_t seen = rows()[min(vector_of(tile, half), count - 1) / a.group].visible;
        visible[tile][half] = seen;
        least = min(least, seen);
        most = max(most, seen);
      }
    }
    least = __reduce_min_sync(all_lanes, least);
    most = __reduce_max_sync(all_lanes, most);
  }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      span[tile][0] = span[tile][1] = {-INFINITY, 0.0f};
#pragma unroll
      for (int n = 0; n < S::columns / 8; ++n)
        out[tile][n][0] = out[tile][n][1] = out[tile][n][2] = out[tile][n][3] = 0;
    }
  }

  // Folds the chunk whose first key is `key` into the span.
  __device__ __forceinline__ void attend(uint32_t keys, uint32_t key) {
    float scores[S::tiles][chunk_keys / 8][4];
    score(keys, scores);
    if (key + chunk_keys > least) hide(key, scores);
    uint32_t weights[S::tiles][chunk_keys / 16][4];
    soften(scores, weights);
#pragma unroll
    for (int step = 0; step < int{chunk_keys} / 16; ++step) {
      const uint32_t first = key + 16 * step;
      if (first >= most) continue;
      const uint32_t values = keys + S::chunk_bytes + 16 * step * 2 * S::D;
      if (first + 16 <= least || all_finite(values)) {
        weigh(values, weights, step);
      } else {
        weigh_apart(values, weights, step, first);
      }
    }
  }

  // scores [vectors, 64] = q . keys
  __device__ __forceinline__ void score(uint32_t keys, float (&scores)[S::tiles][chunk_keys / 8][4]) {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int n = 0; n < int{chunk_keys} / 8; ++n) {
        scores[tile][n][0] = scores[tile][n][1] = scores[tile][n][2] = scores[tile][n][3] = 0;
      }
    }
#pragma unroll
    for (int k = 0; k < S::D / 16; ++k) {
      uint32_t q[S::tiles][4];
#pragma unroll
      for (int tile = 0; tile < S::tiles; ++tile) {
        load_matrices(q[tile], base + swizzled<S::D>((row_warp * S::tiles + tile) * 16 + lane % 16, 2 * k + lane / 16));
      }
#pragma unroll
      for (int n = 0; n < int{chunk_keys} / 16; ++n) {
        uint32_t b[4];  // keys 16 n .. 16 n + 7: b[0], b[1]; the eight after them: b[2], b[3]
        load_matrices(b, keys + swizzled<S::D>(16 * n + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
#pragma unroll
        for (int tile = 0; tile < S::tiles; ++tile) {
          multiply_add(scores[tile][2 * n], q[tile], b[0], b[1]);
          multiply_add(scores[tile][2 * n + 1], q[tile], b[2], b[3]);
        }
      }
    }
  }

  __device__ __forceinline__ void hide(uint32_t key, float (&scores)[S::tiles][chunk_keys / 8][4]) {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int n = 0; n < int{chunk_keys} / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (key + 8 * n + lane % 4 * 2 + i % 2 >= visible[tile][i / 2]) scores[tile][n][i] = -INFINITY;
        }
      }
    }
  }

  // Scores to weights, rounded, as left operands; what was summed so far is rescaled to the new maxima.
  __device__ __forceinline__ void soften(const float (&scores)[S::tiles][chunk_keys / 8][4],
                                         uint32_t (&weights)[S::tiles][chunk_keys / 16][4]) {
    float shrink[S::tiles][2];
    bool same = true;
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = -INFINITY;
#pragma unroll
        for (int n = 0; n < int{chunk_keys} / 8; ++n) {
          top = fmaxf(top, fmaxf(scores[tile][n][2 * half], scores[tile][n][2 * half + 1]));
        }
        SpanSum& s = span[tile][half];
        const float max = fmaxf(s.max, __fmul_rn(row_max(top), a.scale));
        const float origin = max == -INFINITY ? 0.0f : max;  // of a row that sees none of the keys
        shrink[tile][half] = exp2_approximate(s.max - origin);
        same = same && (s.max == max);
        float sum = 0;
#pragma unroll
        for (int n = 0; n < int{chunk_keys} / 8; ++n) {
          const float low = exp2_approximate(__fmaf_rn(scores[tile][n][2 * half], a.scale, -origin));
          const float high = exp2_approximate(__fmaf_rn(scores[tile][n][2 * half + 1], a.scale, -origin));
          const uint32_t pair = round_pair(low, high);
          weights[tile][n / 2][n % 2 * 2 + half] = pair;
          sum += low_of(pair) + high_of(pair);
        }
        s = {max, __fadd_rn(__fmul_rn(s.sum, shrink[tile][half]), sum)};
      }
    }
    if (__all_sync(all_lanes, same)) return;  // times one
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int n = 0; n < S::columns / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) out[tile][n][i] = __fmul_rn(out[tile][n][i], shrink[tile][i / 2]);
      }
    }
  }

  // The warp's columns 16 n .. 16 n + 7 of 16 keys' values: b[0], b[1]; the eight after them: b[2], b[3].
  __device__ __forceinline__ void load_values(uint32_t (&b)[4], uint32_t values, int n) const {
    load_transposed(b, values + swizzled<S::D>(lane % 16, column_warp * (S::columns / 8) + 2 * n + lane / 16));
  }

  __device__ __forceinline__ void weigh(uint32_t values, const uint32_t (&weights)[S::tiles][chunk_keys / 16][4],
                                        int step) {
#pragma unroll
    for (int n = 0; n < S::columns / 16; ++n) {
      uint32_t b[4];
      load_values(b, values, n);
#pragma unroll
      for (int tile = 0; tile < S::tiles; ++tile) {
        multiply_add(out[tile][2 * n], weights[tile][step], b[0], b[1]);
        multiply_add(out[tile][2 * n + 1], weights[tile][step], b[2], b[3]);
      }
    }
  }

  __device__ __forceinline__ bool all_finite(uint32_t values) const {
    uint32_t sum = 0;
#pragma unroll
    for (int n = 0; n < S::columns / 16; ++n) {
      uint32_t b[4];
      load_values(b, values, n);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum = add_times_zero(sum, b[i]);
    }
    return __all_sync(all_lanes, (sum & 0x7fff7fff) == 0);
  }

  // weigh(), row by row, with zeros for the values that a row does not see: zero times a NaN would be one.
  __device__ __forceinline__ void weigh_apart(uint32_t values, const uint32_t (&weights)[S::tiles][chunk_keys / 16][4],
                                              int step, uint32_t first) {
#pragma unroll
    for (int n = 0; n < S::columns / 16; ++n) {
      uint32_t b[4];
      load_values(b, values, n);
#pragma unroll
      for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll 1
        for (uint32_t row = 0; row < 16; ++row) {
          const uint32_t seen = __shfl_sync(all_lanes, row < 8 ? visible[tile][0] : visible[tile][1], row % 8 * 4);
          uint32_t own[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const uint32_t key = first + lane % 4 * 2 + i % 2 * 8;
            own[i] = key + 1 < seen ? b[i] : key < seen ? b[i] & 0xffff : 0;
          }
          float low[4], high[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) low[i] = out[tile][2 * n][i], high[i] = out[tile][2 * n + 1][i];
          multiply_add(low, weights[tile][step], own[0], own[1]);
          multiply_add(high, weights[tile][step], own[2], own[3]);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (lane / 4 + i / 2 * 8 != row) continue;
            out[tile][2 * n][i] = low[i];
            out[tile][2 * n + 1][i] = high[i];
          }
        }
      }
    }
  }

  // Merges the item's span `index` into those before it.
  __device__ __forceinline__ void end_span(uint32_t index, bool last) {
    float4* const totals = a.totals + size_t{blockIdx.x} * attention_total_pieces * attention_threads + threadIdx.x;
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      MergeFactors by[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        SpanSum& s = span[tile][half];
        s.sum = row_sum(s.sum);
        if (index == 0) {
          total[tile][half] = s;
        } else {
          by[half] = merge(total[tile][half], s);
        }
      }
      if (index == 0 && last) continue;
#pragma unroll
      for (int n = 0; n < S::columns / 8; ++n) {
        float(&x)[4] = out[tile][n];
        float4& at = totals[(tile * (S::columns / 8) + n) * attention_threads];
        if (index > 0) {
          const float4 before = __ldcg(&at);
          x[0] = merged(before.x, x[0], by[0]);
          x[1] = merged(before.y, x[1], by[0]);
          x[2] = merged(before.z, x[2], by[1]);
          x[3] = merged(before.w, x[3], by[1]);
        }
        if (!last) __stcg(&at, float4{x[0], x[1], x[2], x[3]});
      }
    }
    if (!last) clear();
  }

  // Rows that see no other spans are done; of others it is a partial result.
  __device__ __forceinline__ void write(uint32_t count) {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t vector = vector_of(tile, half);
        if (vector >= count) continue;
        const uint32_t member = vector / a.group, column = column_warp * S::columns + lane % 4 * 2;
        const SpanSum sum = total[tile][half];
        const bool first = column_warp == 0 && lane % 4 == 0;
        if (item.first_span == 0 && visible[tile][half] <= item.spans * span_keys) {
          const size_t at = rows()[member].row * q_heads() + q_head(vector);
          if (first && a.log_sums) a.log_sums[at] = log_sum(sum);
          uint16_t* const to = a.out + at * a.head_dim;
#pragma unroll
          for (int n = 0; n < S::columns / 8; ++n) {
            if (column + 8 * n >= a.head_dim) continue;
            *reinterpret_cast<uint32_t*>(to + column + 8 * n) =
                round_pair(finished(out[tile][n][2 * half], sum.sum), finished(out[tile][n][2 * half + 1], sum.sum));
          }
        } else {
          const size_t at = (size_t{item.partial} + member) * q_heads() + q_head(vector);
          if (first) a.partial_sums[at] = sum;
          float* const to = a.partial_outs + at * S::D;
#pragma unroll
          for (int n = 0; n < S::columns / 8; ++n) {
            *reinterpret_cast<float2*>(to + column + 8 * n) = {out[tile][n][2 * half], out[tile][n][2 * half + 1]};
          }
        }
      }
    }
  }
};

}  // namespace npr::compute
