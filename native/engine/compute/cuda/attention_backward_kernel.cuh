// The gradients of 64 keys and values, and those of 64 queries.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_backward_tile.cuh"

namespace npr::compute {

// Waits for step `step` of `steps` and has the next one loaded behind it; with one stage, loads and waits.
template <int stages, class Load>
__device__ __forceinline__ void advance(uint32_t step, uint32_t steps, Load&& load) {
  if constexpr (stages == 1) {
    __syncthreads();  // the step before has been read
    load(step);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
  } else {
    wait_copies<0>();
    __syncthreads();
    if (step + 1 < steps) load(step + 1);
    commit_copies();
  }
}

// A warp has 16 of the keys, and of their gradients D / column_warps columns; scores are transposed: keys by queries.
template <int D>
struct KeyGradient {
  static constexpr int column_warps = D == 256 ? 2 : 1, threads = 128 * column_warps, columns = D / column_warps;
  static constexpr int stages = D == 256 ? 1 : 2;
  static constexpr uint32_t tile_bytes = tile_rows * D * 2;
  // Shared memory: keys, values, stages of queries, their outputs' gradients, what is known of them, a mask.
  static constexpr uint32_t known_at = 2 * tile_bytes, mask_at = known_at + tile_rows * 8,
                            stage_bytes = mask_at + tile_rows * 8, bytes = 2 * tile_bytes + stages * stage_bytes;

  static __device__ __forceinline__ void run(const AttentionBackwardArguments& a, const TilePairs& tile, uint32_t head,
                                             uint8_t* memory) {
    const uint32_t base = shared_address(memory), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t first_key = warp % 4 * 16, first_piece = warp / 4 * (columns / 8);
    const uint32_t steps = tile.count * a.group;
    const auto stage = [&](uint32_t step) { return 2 * tile_bytes + step % stages * stage_bytes; };
    const auto load = [&](uint32_t step) {
      const TilePair pair = a.by_key[tile.first + step / a.group];
      const uint32_t q_head = head * a.group + step % a.group, to = base + stage(step);
      load_query_tile<D, threads>(to, pair.query, q_head, a, a.q);
      load_query_tile<D, threads>(to + tile_bytes, pair.query, q_head, a, a.g);
      if (threadIdx.x < tile_rows / 2) {
        copy_16(to + known_at + 16 * threadIdx.x,
                a.known + size_t{q_head} * a.padded_rows() + pair.query * tile_rows + 2 * threadIdx.x, true);
      }
      load_mask(to + mask_at, pair.mask, a);
    };
    load_key_tile<D, threads>(base, tile.tile, head, a, a.keys);
    load_key_tile<D, threads>(base + tile_bytes, tile.tile, head, a, a.values);
    if (stages > 1) load(0);
    commit_copies();
    float dk[columns / 8][4] = {}, dv[columns / 8][4] = {};
    for (uint32_t step = 0; step < steps; ++step) {
      advance<stages>(step, steps, load);
      const uint32_t queries = base + stage(step);
      const float2* const known = reinterpret_cast<const float2*>(memory + stage(step) + known_at);
      float s[tile_rows / 8][4], dp[tile_rows / 8][4];
      multiply_tiles<D>(base, first_key, queries, s);
      multiply_tiles<D>(base + tile_bytes, first_key, queries + tile_bytes, dp);
      uint32_t p[tile_rows / 16][4], ds[tile_rows / 16][4];
      const bool masked = a.by_key[tile.first + step / a.group].mask != no_mask;
      // of a query's 64 bits, the 32 that this warp's keys are among
      const uint32_t* const mask = reinterpret_cast<const uint32_t*>(memory + stage(step) + mask_at) + first_key / 32;
#pragma unroll
      for (int n = 0; n < int{tile_rows} / 8; ++n) {
        const uint32_t query = 8 * n + lane % 4 * 2;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          ScoreGradient x[2];
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const bool seen = !masked || mask[2 * (query + i)] >> (first_key % 32 + lane / 4 + 8 * half) & 1;
            x[i] = score_gradient(s[n][2 * half + i], dp[n][2 * half + i], known[query + i], a.scale, seen);
          }
          p[n / 2][n % 2 * 2 + half] = round_pair(x[0].p, x[1].p);
          ds[n / 2][n % 2 * 2 + half] = round_pair(x[0].ds, x[1].ds);
        }
      }
      add_weighted<D, columns>(p, queries + tile_bytes, first_piece, dv);
      add_weighted<D, columns>(ds, queries, first_piece, dk);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t row = tile.tile * tile_rows + first_key + lane / 4 + 8 * half;
      if (row >= a.rows) continue;
      float* const to_dk = a.gradient(row, a.q_heads() + head);
      float* const to_dv = a.gradient(row, a.q_heads() + a.kv_heads + head);
#pragma unroll
      for (int n = 0; n < columns / 8; ++n) {
        const uint32_t column = first_piece * 8 + 8 * n + lane % 4 * 2;
        if (column >= a.head_dim) continue;
        *reinterpret_cast<float2*>(to_dk + column) = {dk[n][2 * half], dk[n][2 * half + 1]};
        *reinterpret_cast<float2*>(to_dv + column) = {dv[n][2 * half], dv[n][2 * half + 1]};
      }
    }
  }
};

// A warp has 16 of the queries.
template <int D>
struct QueryGradient {
  static constexpr int threads = 128, stages = D == 256 ? 1 : 2;
  static constexpr uint32_t tile_bytes = tile_rows * D * 2;
  // Shared memory: queries, their outputs' gradients, stages of keys, values, a mask.
  static constexpr uint32_t mask_at = 2 * tile_bytes, stage_bytes = mask_at + tile_rows * 8,
                            bytes = 2 * tile_bytes + stages * stage_bytes;

  static __device__ __forceinline__ void run(const AttentionBackwardArguments& a, const TilePairs& tile,
                                             uint32_t q_head, uint8_t* memory) {
    const uint32_t base = shared_address(memory), lane = threadIdx.x % 32, first_query = threadIdx.x / 32 * 16;
    const uint32_t head = q_head / a.group;
    const auto stage = [&](uint32_t step) { return 2 * tile_bytes + step % stages * stage_bytes; };
    const auto load = [&](uint32_t step) {
      const TilePair pair = a.by_query[tile.first + step];
      const uint32_t to = base + stage(step);
      load_key_tile<D, threads>(to, pair.key, head, a, a.keys);
      load_key_tile<D, threads>(to + tile_bytes, pair.key, head, a, a.values);
      load_mask(to + mask_at, pair.mask, a);
    };
    load_query_tile<D, threads>(base, tile.tile, q_head, a, a.q);
    load_query_tile<D, threads>(base + tile_bytes, tile.tile, q_head, a, a.g);
    if (stages > 1) load(0);
    commit_copies();
    float2 known[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t row = tile.tile * tile_rows + first_query + lane / 4 + 8 * half;
      known[half] = a.known[size_t{q_head} * a.padded_rows() + row];
    }
    float dq[D / 8][4] = {};
    for (uint32_t step = 0; step < tile.count; ++step) {
      advance<stages>(step, tile.count, load);
      const uint32_t keys = base + stage(step);
      float s[tile_rows / 8][4], dp[tile_rows / 8][4];
      multiply_tiles<D>(base, first_query, keys, s);
      multiply_tiles<D>(base + tile_bytes, first_query, keys + tile_bytes, dp);
      uint32_t ds[tile_rows / 16][4];
      const bool masked = a.by_query[tile.first + step].mask != no_mask;
      const uint64_t* const mask = reinterpret_cast<const uint64_t*>(memory + stage(step) + mask_at) + first_query;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint64_t bits = masked ? mask[lane / 4 + 8 * half] >> (lane % 4 * 2) : ~uint64_t{0};
#pragma unroll
        for (int n = 0; n < int{tile_rows} / 8; ++n) {
          ScoreGradient x[2];
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            x[i] =
                score_gradient(s[n][2 * half + i], dp[n][2 * half + i], known[half], a.scale, bits >> (8 * n + i) & 1);
          }
          ds[n / 2][n % 2 * 2 + half] = round_pair(x[0].ds, x[1].ds);
        }
      }
      add_weighted<D, D>(ds, keys, 0, dq);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t row = tile.tile * tile_rows + first_query + lane / 4 + 8 * half;
      if (row >= a.rows) continue;
      float* const to = a.gradient(row, q_head);
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        const uint32_t column = 8 * n + lane % 4 * 2;
        if (column < a.head_dim) *reinterpret_cast<float2*>(to + column) = {dq[n][2 * half], dq[n][2 * half + 1]};
      }
    }
  }
};

}  // namespace npr::compute
