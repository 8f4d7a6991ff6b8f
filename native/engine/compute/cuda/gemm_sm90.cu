#include <algorithm>
#include <iterator>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_launch.h"
#include "compute/cuda/gemm_output.cuh"
#include "compute/cuda/gemm_persistent.cuh"
#include "compute/cuda/gemm_sm90.h"
#include "compute/cuda/gemm_split.cuh"
#include "compute/cuda/tensor_map.h"

namespace npr::compute {

namespace {

// What a wave of blocks takes on an H200, in microseconds: fitted to every tile's times of the layers of Qwen3-4B,
// which it meets to about a tenth. `together`: blocks a multiprocessor holds; `full`: of 64 reduction elements when it
// holds that many, `alone`: when it holds one; `end`: a block's beginning and end; `part`: more of it for each further
// part.
struct Pace {
  uint32_t together;
  double full, alone, end, part;
};
constexpr double memory_tb = 4.0;  // TB/s that weights are read with
// Shared memory, 128 bytes a clock, hands a persistent block's 128 rows and its tokens to the matrix instruction while
// the next come in: 256 + 3 * tokens clocks, of which 256 tokens use all for products.
constexpr Pace persistent_pace(uint32_t tokens) {
  const double depth = (256 + 3.0 * tokens) / 1550;
  return {1, depth, depth, 2.0 + 0.01 * tokens, 0.3};
}

struct Kernel {
  const void* function;
  uint32_t groups, tokens, threads, shared_bytes;
  Pace pace;
};

template <int Groups, int Tokens, int Stages, bool Pushes = false>
Kernel split(Pace pace) {
  using Shape = GemmShape<Groups, Tokens, Stages, Pushes ? Landing<Groups, Tokens>::bytes : 0>;
  return {reinterpret_cast<const void*>(gemm_split<Shape, RowMajorOut>),
          Groups,
          Tokens,
          split_threads<Shape>,
          Shape::shared_bytes,
          pace};
}

template <int Tokens, int Stages, bool MnA, bool MnB>
Kernel persistent() {
  using Shape = GemmShape<2, Tokens, Stages, store_bytes>;
  return {reinterpret_cast<const void*>(gemm_persistent<Shape, MnA, MnB, RowMajorOut>),
          2,
          Tokens,
          persistent_threads<Shape>,
          Shape::shared_bytes,
          persistent_pace(Tokens)};
}

// In the order of GemmTile. Up to 32 tokens three blocks share a multiprocessor, with 144 KB of weights and more on
// their way; from 64 on, 128 weights a block halve how often tokens are read from L2.
const Kernel split_kernels[] = {split<1, 8, 7, true>({}),
                                split<1, 16, 6, true>({}),
                                split<1, 32, 6>({3, 0.46, 0.22, 1.4, 0.2}),
                                split<2, 64, 4>({2, 0.64, 0.45, 1.5, 1.0}),
                                split<2, 128, 3>({2, 0.91, 0.64, 2.8, 0.9}),
                                split<2, 256, 4>({1, 0.90, 0.70, 3.0, 2.0})};
// From GemmTile::persistent128 on.
const Kernel persistent_kernels[] = {persistent<128, 6, false, false>(), persistent<160, 5, false, false>(),
                                     persistent<192, 4, false, false>(), persistent<256, 4, false, false>()};
const Kernel input_kernels[] = {persistent<160, 5, true, false>(), persistent<192, 4, true, false>(),
                                persistent<224, 4, true, false>(), persistent<256, 4, true, false>()};
const Kernel weight_kernel = persistent<256, 4, true, true>();

constexpr uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// Parts of K: as few as make 160 tiles of 64 weights, more than a device of sm_90 has multiprocessors, of 256 reduction
// elements at least. These numbers are part of what an output is.
uint32_t parts_of(uint32_t n, uint32_t k) {
  const uint32_t wanted = ceil_div(160, ceil_div(n, wgmma_m)), room = std::max(k / 256, 1u);
  return std::min({wanted, room, most_parts});
}

constexpr GemmTile first_persistent = GemmTile::persistent128;

// Microseconds of `blocks`, each of `depth` times 64 reduction elements.
double time_of(const Kernel& kernel, uint64_t blocks, uint32_t depth, uint32_t parts, uint32_t multiprocessors) {
  const Pace& pace = kernel.pace;
  const uint64_t wave = uint64_t{multiprocessors} * pace.together, rest = blocks % wave;
  const double end = pace.end + pace.part * (parts - 1);
  double time = static_cast<double>(blocks / wave) * (end + pace.full * depth);
  if (rest) time += end + (rest <= multiprocessors ? pace.alone : pace.full) * depth;
  return time;
}
double persistent_time(const Kernel& kernel, uint32_t n, uint32_t tokens, uint32_t k, uint32_t parts,
                       uint32_t multiprocessors) {
  const uint64_t pairs = uint64_t{ceil_div(n, pair_rows)} * ceil_div(tokens, kernel.tokens);
  return time_of(kernel, pairs * 2, ceil_div(k, k_block), parts, multiprocessors);
}

void launch(const Kernel& kernel, uint32_t blocks, uint32_t cluster, bool early, cudaStream_t stream,
            void** arguments) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim.x = cluster;
  attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
  attributes[1] = overlapping(early);
  const cudaLaunchConfig_t config{.gridDim = {blocks, 1, 1},
                                  .blockDim = {kernel.threads, 1, 1},
                                  .dynamicSmemBytes = kernel.shared_bytes,
                                  .stream = stream,
                                  .attrs = attributes,
                                  .numAttrs = 2};
  NPR_CUDA(cudaLaunchKernelExC(&config, kernel.function, arguments));
}

RowMajorOut row_major(float* data, uint32_t tokens, uint32_t n, bool add) {
  return {data, tokens, n, add, n % 4 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0};
}

// How an operand's tiles are read: K-major by boxes of `rows` rows, MN-major by boxes of 64 reduction elements.
CUtensorMap map_of(const Bf16View& m, uint32_t box) { return tensor_map(m.data, m.columns, m.rows, m.stride, box); }

void launch_persistent(const Kernel& kernel, CUtensorMap a, CUtensorMap b, uint32_t n, uint32_t tokens, uint32_t k,
                       uint32_t parts, RowMajorOut out, uint32_t multiprocessors, cudaStream_t stream) {
  PersistentProblem problem{.k_blocks = ceil_div(k, k_block),
                            .parts = parts,
                            .row_tiles = ceil_div(n, pair_rows),
                            .token_tiles = ceil_div(tokens, kernel.tokens),
                            .band = 2048 / kernel.tokens};
  const uint32_t pairs = std::min(problem.row_tiles * problem.token_tiles, multiprocessors / 2);
  CUtensorMap d{};
  if (out.in_fours) d = tensor_map(out.data, n, tokens);
  void* arguments[] = {&a, &b, &d, &problem, &out};
  launch(kernel, pairs * 2, 2, false, stream, arguments);
}

}  // namespace

const char* name(GemmTile tile) {
  constexpr const char* names[] = {"split8",   "split16",       "split32",       "split64",       "split128",
                                   "split256", "persistent128", "persistent160", "persistent192", "persistent256"};
  return names[static_cast<int>(tile)];
}

GemmSm90::GemmSm90(cudaStream_t stream) : stream_(stream) {
  int device, count;
  NPR_CUDA(cudaGetDevice(&device));
  NPR_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  multiprocessors_ = static_cast<uint32_t>(count);
  const auto allow = [](const Kernel& kernel) {
    NPR_CUDA(cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(kernel.shared_bytes)));
  };
  for (const Kernel& kernel : split_kernels) allow(kernel);
  for (const Kernel& kernel : persistent_kernels) allow(kernel);
  for (const Kernel& kernel : input_kernels) allow(kernel);
  allow(weight_kernel);
}

bool GemmSm90::available() {
  int device, major, minor;
  NPR_CUDA(cudaGetDevice(&device));
  NPR_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  NPR_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  if (major != 9 || minor != 0) return false;
  // Code for an older architecture, translated by the driver, would have the kernels without their contents.
  cudaFuncAttributes attributes;
  NPR_CUDA(cudaFuncGetAttributes(&attributes, weight_kernel.function));
  return attributes.ptxVersion >= 90;
}

bool GemmSm90::readable(const bf16* data, uint64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 8 == 0;
}

bool GemmSm90::fits(GemmTile tile, uint32_t n, uint32_t k) {
  return tile != GemmTile::persistent256 || parts_of(n, k) == 1;
}

// The least time by the measured pace of each tile.
GemmTile GemmSm90::choose(uint32_t rows, uint32_t n, uint32_t k) const {
  for (int i = 0; i < 2; ++i) {
    if (rows <= split_kernels[i].tokens) return static_cast<GemmTile>(i);
  }
  const uint32_t parts = parts_of(n, k);
  GemmTile best = GemmTile::split32;
  double least = 1e30;
  for (int i = static_cast<int>(best); i < gemm_tiles; ++i) {
    const auto tile = static_cast<GemmTile>(i);
    if (!fits(tile, n, k)) continue;
    double time;
    if (tile >= first_persistent) {
      time = persistent_time(persistent_kernels[i - static_cast<int>(first_persistent)], n, rows, k, parts,
                             multiprocessors_);
    } else {
      const Kernel& kernel = split_kernels[i];
      time = time_of(kernel, uint64_t{ceil_div(n, kernel.groups * wgmma_m)} * ceil_div(rows, kernel.tokens) * parts,
                     ceil_div(k, k_block) / parts, parts, multiprocessors_);
    }
    // No tile gets weights faster than memory reads them; of those that wait for it the quicker is still better.
    time = std::max(time, 2e-6 * n * k / memory_tb) + 0.01 * time;
    if (time < least) least = time, best = tile;
  }
  return best;
}

void GemmSm90::product(GemmTile tile, Bf16View x, Bf16View w, float* out, bool add) const {
  const uint32_t rows = x.rows, n = w.rows, k = w.columns, parts = parts_of(n, k);
  RowMajorOut to = row_major(out, rows, n, add);
  if (tile >= first_persistent) {
    const Kernel& kernel = persistent_kernels[static_cast<int>(tile) - static_cast<int>(first_persistent)];
    launch_persistent(kernel, map_of(w, 128), map_of(x, kernel.tokens / 2), n, rows, k, parts, to, multiprocessors_,
                      stream_);
    return;
  }
  const Kernel& kernel = split_kernels[static_cast<int>(tile)];
  CUtensorMap weights = map_of(w, kernel.groups * wgmma_m), tokens = map_of(x, kernel.tokens);
  SplitProblem problem{.k_blocks = ceil_div(k, k_block), .token_tiles = ceil_div(rows, kernel.tokens)};
  void* arguments[] = {&weights, &tokens, &problem, &to};
  launch(kernel, parts * problem.token_tiles * ceil_div(n, kernel.groups * wgmma_m), parts, true, stream_, arguments);
}

void GemmSm90::input(Bf16View g, Bf16View w, float* dx) const {
  const auto time = [&](const Kernel& kernel) {
    return persistent_time(kernel, w.columns, g.rows, w.rows, 1, multiprocessors_);
  };
  const Kernel& kernel = *std::min_element(std::begin(input_kernels), std::end(input_kernels),
                                           [&](const Kernel& a, const Kernel& b) { return time(a) < time(b); });
  launch_persistent(kernel, map_of(w, k_block), map_of(g, kernel.tokens / 2), w.columns, g.rows, w.rows, 1,
                    row_major(dx, g.rows, w.columns, false), multiprocessors_, stream_);
}

void GemmSm90::weight(Bf16View g, Bf16View x, float* dw) const {
  launch_persistent(weight_kernel, map_of(x, k_block), map_of(g, k_block), x.columns, g.columns, g.rows, 1,
                    row_major(dw, g.columns, x.columns, true), multiprocessors_, stream_);
}

}  // namespace npr::compute
