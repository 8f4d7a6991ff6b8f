#include <algorithm>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_launch.h"
#include "compute/cuda/gemm_output.cuh"
#include "compute/cuda/gemm_persistent.cuh"
#include "compute/cuda/gemm_sm90.h"
#include "compute/cuda/gemm_split.cuh"
#include "compute/cuda/tensor_map.h"

namespace npr::compute {

namespace {

struct Kernel {
  const void* function;
  uint32_t groups, tokens, threads, shared_bytes;
};

template <int Groups, int Tokens, int Stages>
Kernel split() {
  using Shape = GemmShape<Groups, Tokens, Stages>;
  return {reinterpret_cast<const void*>(gemm_split<Shape, RowMajorOut>), Groups, Tokens, split_threads<Shape>,
          Shape::shared_bytes};
}

template <int Tokens, int Stages, bool MnA, bool MnB>
Kernel persistent() {
  using Shape = GemmShape<2, Tokens, Stages, store_bytes>;
  return {reinterpret_cast<const void*>(gemm_persistent<Shape, MnA, MnB, RowMajorOut>), 2, Tokens,
          persistent_threads<Shape>, Shape::shared_bytes};
}

// In the order of GemmTile. Up to 32 tokens three blocks share a multiprocessor, with 144 KB of weights and more on
// their way; from 64 on, 128 weights a block halve how often tokens are read from L2.
const Kernel split_kernels[] = {split<1, 8, 8>(),  split<1, 16, 7>(),  split<1, 32, 6>(),
                                split<2, 64, 4>(), split<2, 128, 3>(), split<2, 256, 4>()};
const Kernel whole_kernel = persistent<256, 4, false, false>();
const Kernel parts_kernel = persistent<128, 6, false, false>();
const Kernel input_kernel = persistent<256, 4, true, false>();
const Kernel weight_kernel = persistent<256, 4, true, true>();

constexpr uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// Parts of K: as few as make 160 tiles of 64 weights, more than a device of sm_90 has multiprocessors, of 256 reduction
// elements at least. These numbers are part of what an output is.
uint32_t parts_of(uint32_t n, uint32_t k) {
  const uint32_t wanted = ceil_div(160, ceil_div(n, wgmma_m)), room = std::max(k / 256, 1u);
  return std::min({wanted, room, most_parts});
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
  constexpr const char* names[] = {"split8", "split16", "split32", "split64", "split128", "split256", "persistent"};
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
  for (const Kernel* kernel : {&whole_kernel, &parts_kernel, &input_kernel, &weight_kernel}) allow(*kernel);
}

bool GemmSm90::available() {
  int device, major, minor;
  NPR_CUDA(cudaGetDevice(&device));
  NPR_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  NPR_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  if (major != 9 || minor != 0) return false;
  // Code for an older architecture, translated by the driver, would have the kernels without their contents.
  cudaFuncAttributes attributes;
  NPR_CUDA(cudaFuncGetAttributes(&attributes, whole_kernel.function));
  return attributes.ptxVersion >= 90;
}

bool GemmSm90::readable(const bf16* data, uint64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 8 == 0;
}

// The least time, taken as that of the operands' way from L2 (a multiprocessor gets about 37 bytes a clock, so tiles of
// up to 256 tokens wait for it rather than for the matrix instruction, unless a pair shares): waves of tiles times
// operand rows a tile reads, times its reduction elements and as much as 256 of them for its beginning and its end.
GemmTile GemmSm90::choose(uint32_t rows, uint32_t n, uint32_t k) const {
  for (int i = 0; i < 4; ++i) {
    if (rows <= split_kernels[i].tokens) return static_cast<GemmTile>(i);
  }
  const uint32_t parts = parts_of(n, k);
  const auto waves = [&](uint64_t tiles) { return (tiles + multiprocessors_ - 1) / multiprocessors_; };
  const uint32_t persistent_tokens = parts == 1 ? 256 : 128;
  GemmTile best = GemmTile::persistent;
  // Of the pair's tokens half come from the other block; 256 tokens then wait for the matrix instruction, as 288 would
  // for L2.
  uint64_t least = waves(uint64_t{ceil_div(n, pair_rows)} * 2 * ceil_div(rows, persistent_tokens)) *
                   (parts == 1 ? 288 : 192) * (k + 256);
  for (const GemmTile tile : {GemmTile::split64, GemmTile::split128, GemmTile::split256}) {
    const uint32_t tokens = split_kernels[static_cast<int>(tile)].tokens;
    const uint64_t time =
        waves(uint64_t{ceil_div(n, 128)} * ceil_div(rows, tokens) * parts) * (128 + tokens) * (k / parts + 256);
    if (time < least) least = time, best = tile;
  }
  return best;
}

void GemmSm90::product(GemmTile tile, Bf16View x, Bf16View w, float* out, bool add) const {
  const uint32_t rows = x.rows, n = w.rows, k = w.columns, parts = parts_of(n, k);
  RowMajorOut to = row_major(out, rows, n, add);
  if (tile == GemmTile::persistent) {
    const Kernel& kernel = parts == 1 ? whole_kernel : parts_kernel;
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
  launch_persistent(input_kernel, map_of(w, k_block), map_of(g, input_kernel.tokens / 2), w.columns, g.rows, w.rows, 1,
                    row_major(dx, g.rows, w.columns, false), multiprocessors_, stream_);
}

void GemmSm90::weight(Bf16View g, Bf16View x, float* dw) const {
  launch_persistent(weight_kernel, map_of(x, k_block), map_of(g, k_block), x.columns, g.columns, g.rows, 1,
                    row_major(dw, g.columns, x.columns, true), multiprocessors_, stream_);
}

}  // namespace npr::compute
