// Products on the device: against double sums, and the rule that neither the number of rows nor the tile changes a bit.
#include <cuda_bf16.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_stream.h"
#include "compute/cuda/linear.h"

using namespace npr::compute;

namespace {

using Instruction = CudaLinear::Instruction;
constexpr uint32_t row_counts[] = {1, 2, 7, 8, 9, 31, 33, 64, 65, 127, 128, 129, 200, 257, 1000};
constexpr std::pair<uint32_t, uint32_t> small_shapes[] = {{8, 8},      {64, 64}, {1024, 64},  {256, 768}, {72, 136},
                                                          {520, 1032}, {17, 38}, {130, 1030}, {321, 8}};
// Of Qwen3-4B, in one, two and four parts of K, and one of three.
constexpr std::pair<uint32_t, uint32_t> large_shapes[] = {
    {6144, 2560}, {2560, 4096}, {19456, 2560}, {2560, 9728}, {3456, 1096}};

__device__ float uniform(uint64_t seed, uint64_t i) {  // [-1, 1)
  uint64_t z = (seed << 40) + i * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-23f - 1.0f;
}
__device__ float value(float x) { return __bfloat162float(__float2bfloat16_rn(x)); }  // as the products take it
__device__ float value(bf16 x) { return __bfloat162float(__ushort_as_bfloat16(x)); }
__device__ void set(float& to, float x) { to = x; }
__device__ void set(bf16& to, float x) { to = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }

// a [rows, stride]: random numbers in the first `columns` of each row, NaN after them and in `behind` more elements.
template <class T>
__global__ void fill(T* a, uint64_t rows, uint64_t columns, uint64_t stride, uint64_t behind, uint64_t seed) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < rows * stride + behind;
       i += uint64_t{gridDim.x} * blockDim.x) {
    set(a[i], i / stride < rows && i % stride < columns ? uniform(seed, i) : NAN);
  }
}

// An operand: row i, reduction element r at data[i * row + r * step].
template <class T>
struct View {
  const T* data;
  uint64_t row, step;
  __device__ float at(uint64_t i, uint64_t r) const { return value(data[i * row + r * step]); }
};

// faults[0] counts outputs [tokens, n] that are not times * (b . a^T) + old.
template <class A, class B>
__global__ void compare_sums(const float* out, View<A> a, View<B> b, uint32_t tokens, uint32_t n, uint32_t depth,
                             int times, const float* old, uint32_t* faults) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < uint64_t{tokens} * n;
       i += uint64_t{gridDim.x} * blockDim.x) {
    double sum = 0, size = 0;
    for (uint32_t r = 0; r < depth; ++r) {
      const double term = double{a.at(i % n, r)} * b.at(i / n, r);
      sum += term;
      size += fabs(term);
    }
    const double expected = times * sum + (old ? old[i] : 0.0f);
    // A term left out is 0.25 on average; fp32 sums are off by far less than a millionth of their terms each.
    if (!(fabs(out[i] - expected) <= 4e-6 * (size + 1))) atomicAdd(faults, 1u);
  }
}
__global__ void compare_bits(const float* a, const float* b, uint64_t count, uint32_t* faults) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < count; i += uint64_t{gridDim.x} * blockDim.x) {
    if (__float_as_uint(a[i]) != __float_as_uint(b[i])) atomicAdd(faults, 1u);
  }
}

// The device, a stream, and arrays of random numbers with NaN behind them. Thread safety: one thread.
class Device {
 public:
  static void skip_if_absent() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) throw check::Skipped("no CUDA device");
  }
  cudaStream_t stream() const { return stream_; }

  template <class T>
  DeviceArray random(uint64_t rows, uint64_t columns, uint64_t seed) {
    DeviceArray array((rows * columns + behind) * sizeof(T), "a test");
    fill<<<512, 256, 0, stream_>>>(array.as<T>(), rows, columns, columns, behind, seed);
    NPR_LAUNCHED(fill);
    return array;
  }
  void randomize(const CudaMatrix& w, uint64_t seed) {
    fill<<<512, 256, 0, stream_>>>(w.data(), w.n(), w.k(), w.stride(), uint64_t{w.padded_n() - w.n()} * w.stride(),
                                   seed);
    NPR_LAUNCHED(fill);
    NPR_CUDA(cudaStreamSynchronize(stream_));  // products read weights before what was queued has ended
  }
  template <class A, class B>
  uint32_t wrong_sums(const float* out, View<A> a, View<B> b, uint32_t tokens, uint32_t n, uint32_t depth,
                      int times = 1, const float* old = nullptr) {
    return count([&](uint32_t* faults) {
      compare_sums<<<1024, 128, 0, stream_>>>(out, a, b, tokens, n, depth, times, old, faults);
    });
  }
  uint32_t different_bits(const float* a, const float* b, uint64_t count_of) {
    return count([&](uint32_t* faults) { compare_bits<<<512, 256, 0, stream_>>>(a, b, count_of, faults); });
  }

 private:
  static constexpr uint64_t behind = 4096;

  template <class F>
  uint32_t count(const F& launch) {
    NPR_CUDA(cudaMemsetAsync(faults_.as<uint32_t>(), 0, 4, stream_));
    launch(faults_.as<uint32_t>());
    NPR_LAUNCHED(compare);
    uint32_t found;
    NPR_CUDA(cudaMemcpyAsync(&found, faults_.as<uint32_t>(), 4, cudaMemcpyDeviceToHost, stream_));
    NPR_CUDA(cudaStreamSynchronize(stream_));
    return found;
  }

  CudaStream stream_;
  DeviceArray faults_{4, "a count"};
};

std::string case_name(Instruction instruction, uint32_t rows, uint32_t n, uint32_t k) {
  return std::string(instruction == Instruction::mma ? "mma " : "best ") + std::to_string(rows) + " x [" +
         std::to_string(n) + ", " + std::to_string(k) + "]: ";
}
// Faults are gathered, so that one run tells of all.
void report(const std::string& faults) {
  if (!faults.empty()) throw check::Failed("outputs that are wrong:\n" + faults);
}
void note(std::string& faults, const std::string& where, uint32_t count) {
  if (count) faults += "        " + where + std::to_string(count) + "\n";
}

template <class F>
void each_instruction(const F& f) {
  Device::skip_if_absent();
  for (const Instruction instruction : {Instruction::best, Instruction::mma}) f(instruction);
}

}  // namespace

TEST(products_are_the_sums) {
  std::string faults;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    for (const auto& [n, k] : small_shapes) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      for (const uint32_t rows : row_counts) {
        const auto x = device.random<bf16>(rows, k, 2);
        const auto out = device.random<float>(rows, n, 3), guard = device.random<float>(rows, n, 3);
        const View<bf16> a{w.data(), w.stride(), 1}, b{x.as<bf16>(), k, 1};
        linear.run(x.as<bf16>(), rows, w, out.as<float>(), true);
        const auto where = case_name(instruction, rows, n, k);
        note(faults, where + "added ", device.wrong_sums(out.as<float>(), a, b, rows, n, k, 1, guard.as<float>()));
        linear.run(x.as<bf16>(), rows, w, out.as<float>(), false);
        note(faults, where, device.wrong_sums(out.as<float>(), a, b, rows, n, k));
        const size_t end = size_t{rows} * n;
        note(faults, where + "behind ", device.different_bits(out.as<float>() + end, guard.as<float>() + end, 4096));
      }
    }
  });
  report(faults);
}

TEST(large_products_are_the_sums) {
  std::string faults;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    for (const auto& [n, k] : large_shapes) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      for (const uint32_t rows : {5, 40, 300}) {
        const auto x = device.random<bf16>(rows, k, 2);
        const DeviceArray out(size_t{rows} * n * sizeof(float), "a test");
        linear.run(x.as<bf16>(), rows, w, out.as<float>(), false);
        note(faults, case_name(instruction, rows, n, k),
             device.wrong_sums(out.as<float>(), View<bf16>{w.data(), w.stride(), 1}, View<bf16>{x.as<bf16>(), k, 1},
                               rows, n, k));
      }
    }
  });
  report(faults);
}

TEST(rows_change_no_bit) {
  std::string faults;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    constexpr uint32_t most = 4100;
    for (const auto& [n, k] : large_shapes) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      const auto x = device.random<bf16>(most, k, 2);
      const DeviceArray all(size_t{most} * n * sizeof(float), "a test"),
          some(size_t{1000} * n * sizeof(float), "a test");
      linear.run(x.as<bf16>(), most, w, all.as<float>(), false);
      for (const uint32_t rows : row_counts) {
        const size_t first = most - rows;
        linear.run(x.as<bf16>() + first * k, rows, w, some.as<float>(), false);
        note(faults, case_name(instruction, rows, n, k),
             device.different_bits(some.as<float>(), all.as<float>() + first * n, size_t{rows} * n));
      }
    }
  });
  report(faults);
}

TEST(tiles_change_no_bit) {
  Device::skip_if_absent();
  if (!GemmSm90::available()) throw check::Skipped("no device of sm_90");
  Device device;
  const GemmSm90 gemm(device.stream());
  constexpr uint32_t rows = 300;
  std::string faults;
  for (const auto& [n, k] : large_shapes) {
    const CudaMatrix w(n, k);
    device.randomize(w, 1);
    const auto x = device.random<bf16>(rows, k, 2);
    const size_t count = size_t{rows} * n;
    const DeviceArray first(count * sizeof(float), "a test"), other(count * sizeof(float), "a test");
    for (int i = 0; i < gemm_tiles; ++i) {
      const auto tile = static_cast<GemmTile>(i);
      gemm.product(tile, {x.as<bf16>(), rows, k, k}, {w.data(), n, k, w.stride()}, (i ? other : first).as<float>(),
                   false);
      if (i == 0) continue;
      note(faults, case_name(Instruction::best, rows, n, k) + name(tile) + " beside split8 ",
           device.different_bits(first.as<float>(), other.as<float>(), count));
    }
  }
  report(faults);
}

// Launches overlap: each adds to what the one before wrote.
TEST(replays_are_in_order) {
  std::string faults;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    constexpr uint32_t n = 2560, k = 1024;
    const CudaMatrix w(n, k);
    device.randomize(w, 1);
    for (const uint32_t rows : {1, 32, 128, 700}) {
      const auto x = device.random<bf16>(rows, k, 2);
      const DeviceArray once(size_t{rows} * n * sizeof(float), "a test"), replayed(once.bytes(), "a test");
      const auto work = [&](const DeviceArray& out) {
        for (int i = 0; i < 20; ++i) linear.run(x.as<bf16>(), rows, w, out.as<float>(), true);
      };
      for (int i = 0; i < 20; ++i) {
        linear.run(x.as<bf16>(), rows, w, once.as<float>(), true);
        NPR_CUDA(cudaStreamSynchronize(device.stream()));
      }
      cudaGraph_t graph;
      cudaGraphExec_t executable;
      NPR_CUDA(cudaStreamBeginCapture(device.stream(), cudaStreamCaptureModeThreadLocal));
      work(replayed);
      NPR_CUDA(cudaStreamEndCapture(device.stream(), &graph));
      NPR_CUDA(cudaGraphInstantiate(&executable, graph, 0));
      NPR_CUDA(cudaGraphLaunch(executable, device.stream()));
      note(faults, case_name(instruction, rows, n, k),
           device.different_bits(once.as<float>(), replayed.as<float>(), size_t{rows} * n));
      NPR_CUDA(cudaGraphExecDestroy(executable));
      NPR_CUDA(cudaGraphDestroy(graph));
    }
  });
  report(faults);
}

TEST(gradients_are_the_sums) {
  std::string faults;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    for (const auto& [n, k] : small_shapes) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      for (const uint32_t rows : {1, 33, 64, 129, 700}) {
        const auto x = device.random<bf16>(rows, k, 2);
        const auto g = device.random<float>(rows, n, 3);
        const auto dx = device.random<float>(rows, k, 4);
        const auto dw = device.random<float>(n, k, 5), old = device.random<float>(n, k, 5);
        const auto where = case_name(instruction, rows, n, k);
        linear.input(g.as<float>(), rows, w, dx.as<float>());
        note(faults, where + "dx ",
             device.wrong_sums(dx.as<float>(), View<bf16>{w.data(), 1, w.stride()}, View<float>{g.as<float>(), n, 1},
                               rows, k, n));
        for (int i = 0; i < 2; ++i) linear.weight(g.as<float>(), x.as<bf16>(), rows, n, k, dw.as<float>());
        note(faults, where + "dw ",
             device.wrong_sums(dw.as<float>(), View<bf16>{x.as<bf16>(), 1, k}, View<float>{g.as<float>(), 1, n}, n, k,
                               rows, 2, old.as<float>()));
        const size_t end = size_t{n} * k;
        note(faults, where + "behind dw ", device.different_bits(dw.as<float>() + end, old.as<float>() + end, 4096));
      }
    }
  });
  report(faults);
}
