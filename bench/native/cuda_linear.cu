// The CUDA backend's linear layers on the shapes of Qwen3-4B, beside the bandwidth of reading and a peak.
//   cuda_linear_bench [TFLOP/s of the peak: 790] [tiles: the time of every tile too]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_stream.h"
#include "compute/cuda/linear.h"

namespace {

using namespace npr::compute;

struct Layer {
  const char* name;
  uint32_t n, k;
  bool add;
};
constexpr Layer layers[] = {{"qkv", 6144, 2560, false},
                            {"output", 2560, 4096, true},
                            {"gate, up", 19456, 2560, false},
                            {"down", 2560, 9728, true},
                            {"head", 151936, 2560, false}};
constexpr uint32_t most_rows = 8192;
// Copies of a matrix are read in turn until they outgrow L2 by far.
constexpr size_t rotated_bytes = size_t{400} << 20;

__global__ void fill(uint32_t* to, size_t count, bool floats) {
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += size_t{gridDim.x} * blockDim.x) {
    uint32_t z = static_cast<uint32_t>(i) * 0x9e3779b9u + 1;
    z = (z ^ (z >> 16)) * 0x85ebca6bu;
    z = (z ^ (z >> 13)) * 0xc2b2ae35u;
    z ^= z >> 16;
    // Random signs and mantissas of numbers from 1 to 2, one float or two bf16.
    to[i] = floats ? (z & 0x807fffffu) | 0x3f800000u : (z & 0x807f807fu) | 0x3f803f80u;
  }
}

// Reads `count` times sixteen bytes; `never` is written where a thread's sum is one of 2^32.
__global__ void read_all(const uint4* from, size_t count, uint32_t* never) {
  const size_t step = size_t{gridDim.x} * blockDim.x;
  uint32_t sum = 0;
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step * 8) {
    uint4 v[8];
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) v[j] = i + j * step < count ? __ldcs(from + i + j * step) : uint4{};
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (sum == 0x9e3779b9u) *never = sum;
}

class Bench {
 public:
  explicit Bench(double peak) : peak_(peak) {
    NPR_CUDA(cudaEventCreate(&begin_));
    NPR_CUDA(cudaEventCreate(&end_));
    // Reading is what small products do; the driver's copies, 2.7 TB/s of both directions, are slower than products.
    const auto from = random(size_t{1} << 30, false);
    const double seconds = time(4, [&](int) {
      read_all<<<132 * 8, 256, 0, stream_>>>(from.as<uint4>(), from.bytes() / 16, from.as<uint32_t>());
      NPR_LAUNCHED(read_all);
    });
    reading_ = static_cast<double>(from.bytes()) / seconds;
    std::printf("reading %.2f TB/s, peak %.0f TFLOP/s\n", reading_ * 1e-12, peak_ * 1e-12);
  }
  cudaStream_t stream() const { return stream_; }

  DeviceArray random(size_t bytes, bool floats) {
    DeviceArray array(bytes, "a benchmark");
    randomize(array.as<uint32_t>(), bytes, floats);
    return array;
  }
  void randomize(void* data, size_t bytes, bool floats) {
    fill<<<1024, 256, 0, stream_>>>(static_cast<uint32_t*>(data), bytes / 4, floats);
    NPR_LAUNCHED(fill);
    NPR_CUDA(cudaStreamSynchronize(stream_));
  }

  // Seconds of one of the launches that work(i) queues, from graphs of `launches` of them: the best of five.
  template <class F>
  double time(int launches, const F& work) {
    work(0);  // what is allocated at the first call can't be captured
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    NPR_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < launches; ++i) work(i);
    NPR_CUDA(cudaStreamEndCapture(stream_, &graph));
    NPR_CUDA(cudaGraphInstantiate(&executable, graph, 0));
    double best = 1e30;
    for (int round = 0; round < 6; ++round) {
      NPR_CUDA(cudaEventRecord(begin_, stream_));
      NPR_CUDA(cudaGraphLaunch(executable, stream_));
      NPR_CUDA(cudaEventRecord(end_, stream_));
      NPR_CUDA(cudaEventSynchronize(end_));
      float ms;
      NPR_CUDA(cudaEventElapsedTime(&ms, begin_, end_));
      if (round) best = std::min(best, ms * 1e-3 / launches);
    }
    NPR_CUDA(cudaGraphExecDestroy(executable));
    NPR_CUDA(cudaGraphDestroy(graph));
    return best;
  }
  // `bytes` that must be read or written, once each; `flops`.
  void print(const char* what, uint32_t rows, double seconds, double bytes, double flops) const {
    std::printf("%-24s rows %5u  %9.2f us  %5.2f TB/s (%3.0f%%)  %6.1f TFLOP/s (%3.0f%%)\n", what, rows, seconds * 1e6,
                bytes / seconds * 1e-12, 100 * bytes / seconds / reading_, flops / seconds * 1e-12,
                100 * flops / seconds / peak_);
    std::fflush(stdout);
  }

 private:
  CudaStream stream_;
  cudaEvent_t begin_, end_;
  double reading_ = 0, peak_;
};

void measure(Bench& bench, const Layer& layer, bool tiles) {
  CudaLinear linear(bench.stream());
  const auto [name, n, k, add] = layer;
  std::vector<CudaMatrix> weights;
  for (size_t bytes = 0; bytes < rotated_bytes; bytes += size_t{n} * k * 2) {
    CudaMatrix& w = weights.emplace_back(n, k);
    bench.randomize(w.data(), size_t{w.padded_n()} * w.stride() * 2, false);
  }
  const auto x = bench.random(size_t{most_rows} * k * 2, false);
  const DeviceArray out(size_t{most_rows} * n * 4, "a benchmark");
  for (uint32_t rows = 1; rows <= most_rows; rows *= 2) {
    const double flops = 2.0 * rows * n * k;
    const double bytes = 2.0 * n * k + 2.0 * rows * k + (add ? 8.0 : 4.0) * rows * n;
    const int launches = static_cast<int>(std::clamp(3e12 / std::max(flops, bytes * 200), 2.0, 400.0));
    const auto weight = [&](int i) -> const CudaMatrix& { return weights[static_cast<size_t>(i) % weights.size()]; };
    bench.print(name, rows,
                bench.time(launches, [&](int i) { linear.run(x.as<bf16>(), rows, weight(i), out.as<float>(), add); }),
                bytes, flops);
    if (!tiles || !GemmSm90::available()) continue;
    const GemmSm90 gemm(bench.stream());
    const GemmTile chosen = gemm.choose(rows, n, k);
    for (int t = 0; t < gemm_tiles; ++t) {
      const auto tile = static_cast<GemmTile>(t);
      if (!GemmSm90::fits(tile, n, k) || (rows > 256 && tile < GemmTile::split64)) continue;
      char what[64];
      std::snprintf(what, sizeof what, "  %s%s", npr::compute::name(tile), tile == chosen ? " (chosen)" : "");
      bench.print(
          what, rows,
          bench.time(
              launches,
              [&](int i) {
                const CudaMatrix& w = weight(i);
                gemm.product(tile, {x.as<bf16>(), rows, k, k}, {w.data(), n, k, w.stride()}, out.as<float>(), add);
              }),
          bytes, flops);
    }
  }
}

void measure_gradients(Bench& bench, const Layer& layer) {
  CudaLinear linear(bench.stream());
  const auto [name, n, k, add] = layer;
  CudaMatrix w(n, k);
  bench.randomize(w.data(), size_t{w.padded_n()} * w.stride() * 2, false);
  const auto x = bench.random(size_t{most_rows} * k * 2, false), g = bench.random(size_t{most_rows} * n * 4, true);
  const DeviceArray dx(size_t{most_rows} * k * 4, "a benchmark"), dw(size_t{n} * k * 4, "a benchmark");
  for (const uint32_t rows : {8192u, 4096u}) {  // the first call allocates for the most
    const double flops = 2.0 * rows * n * k, shared = 4.0 * rows * n;
    char what[64];
    std::snprintf(what, sizeof what, "%s, of inputs", name);
    bench.print(what, rows, bench.time(4, [&](int) { linear.input(g.as<float>(), rows, w, dx.as<float>()); }),
                shared + 2.0 * n * k + 4.0 * rows * k, flops);
    std::snprintf(what, sizeof what, "%s, of weights", name);
    bench.print(what, rows,
                bench.time(4, [&](int) { linear.weight(g.as<float>(), x.as<bf16>(), rows, n, k, dw.as<float>()); }),
                shared + 2.0 * rows * k + 8.0 * n * k, flops);
  }
}

}  // namespace

int main(int argc, char** argv) {
  double peak = 790e12;
  bool tiles = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "tiles") == 0) {
      tiles = true;
    } else {
      peak = std::atof(argv[i]) * 1e12;
    }
  }
  try {
    Bench bench(peak);
    for (const Layer& layer : layers) measure(bench, layer, tiles);
    for (const Layer& layer : layers) {
      if (layer.n < 100000) measure_gradients(bench, layer);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
