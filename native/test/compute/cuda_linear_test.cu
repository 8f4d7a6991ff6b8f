// Products on the device: against double sums, and the rule that neither the number of rows nor the tile changes a bit.
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "compute/cuda/linear.h"
#include "compute/cuda_device.cuh"

using namespace npr::compute;
using support::Device;
using support::View;

namespace {

using Instruction = CudaLinear::Instruction;
constexpr uint32_t row_counts[] = {1, 2, 7, 8, 9, 31, 33, 64, 65, 127, 128, 129, 200, 257, 1000};
constexpr std::pair<uint32_t, uint32_t> small_shapes[] = {{8, 8},      {64, 64}, {1024, 64},  {256, 768}, {72, 136},
                                                          {520, 1032}, {17, 38}, {130, 1030}, {321, 8}};
// Of Qwen3-4B, in one, two and four parts of K, and one of three.
constexpr std::pair<uint32_t, uint32_t> large_shapes[] = {
    {6144, 2560}, {2560, 4096}, {19456, 2560}, {2560, 9728}, {3456, 1096}};

// In software the largest products would take minutes each.
bool in_software() { return std::getenv("NPR_SOFTWARE_GPU_CAPABILITY") != nullptr; }
std::vector<std::pair<uint32_t, uint32_t>> large_ones() {
  if (in_software()) return {large_shapes[4]};
  return {std::begin(large_shapes), std::end(large_shapes)};
}

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
  uint32_t at = 0;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    for (const auto& [n, k] : small_shapes) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      for (const uint32_t rows : row_counts) {
        if (at++ % check::stride()) continue;
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
    for (const auto& [n, k] : large_ones()) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      for (const uint32_t rows : {5, 40, 300}) {
        if (in_software() && rows > 5) continue;
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
    const uint32_t most = in_software() ? 330 : 4100;
    for (const auto& [n, k] : large_ones()) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      const auto x = device.random<bf16>(most, k, 2);
      const DeviceArray all(size_t{most} * n * sizeof(float), "a test"),
          some(size_t{1000} * n * sizeof(float), "a test");
      uint32_t at = 0;
      linear.run(x.as<bf16>(), most, w, all.as<float>(), false);
      for (const uint32_t rows : row_counts) {
        if (rows > most || (in_software() && at++ % 4)) continue;
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
  int major;
  NPR_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  if (major != 9) throw check::Skipped("no device of sm_90");
  CHECK(GemmSm90::available());
  Device device;
  const GemmSm90 gemm(device.stream());
  constexpr uint32_t rows = 300;
  std::string faults;
  std::vector<std::pair<uint32_t, uint32_t>> shapes = {
      {1026, 1096}};  // lines that are no multiple of 16 bytes, in parts
  if (!in_software()) {
    shapes.emplace_back(10242, 1096);  // and whole
    shapes.insert(shapes.end(), std::begin(large_shapes), std::end(large_shapes));
  }
  for (const auto& [n, k] : shapes) {
    const CudaMatrix w(n, k);
    device.randomize(w, 1);
    const auto x = device.random<bf16>(rows, k, 2);
    const size_t count = size_t{rows} * n;
    for (const bool add : {false, true}) {
      const auto first = device.random<float>(rows, n, 3);
      for (int i = 0; i < gemm_tiles; ++i) {
        const auto tile = static_cast<GemmTile>(i);
        if (!GemmSm90::fits(tile, n, k)) continue;
        const auto other = device.random<float>(rows, n, 3);
        gemm.product(tile, {x.as<bf16>(), rows, k, k}, {w.data(), n, k, w.stride()}, (i ? other : first).as<float>(),
                     add);
        if (i == 0) continue;
        note(faults,
             case_name(Instruction::best, rows, n, k) + name(tile) + (add ? ", added," : "") + " beside split8 ",
             device.different_bits(first.as<float>(), other.as<float>(), count));
      }
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
    const int times = in_software() ? 3 : 20;
    for (const uint32_t rows : {1, 32, 128, 700}) {
      if (in_software() && rows > 32) continue;
      const auto x = device.random<bf16>(rows, k, 2);
      const DeviceArray once(size_t{rows} * n * sizeof(float), "a test"), replayed(once.bytes(), "a test");
      const auto work = [&](const DeviceArray& out) {
        for (int i = 0; i < times; ++i) linear.run(x.as<bf16>(), rows, w, out.as<float>(), true);
      };
      for (int i = 0; i < times; ++i) {
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
  uint32_t at = 0;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    for (const auto& [n, k] : small_shapes) {
      const CudaMatrix w(n, k);
      device.randomize(w, 1);
      for (const uint32_t rows : {1, 33, 64, 129, 700}) {
        if (at++ % check::stride()) continue;
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

TEST(rows_change_no_bit_of_their_gradients) {
  std::string faults;
  each_instruction([&](Instruction instruction) {
    Device device;
    CudaLinear linear(device.stream(), instruction);
    const uint32_t n = 136, k = in_software() ? 320 : 2560, most = in_software() ? 600 : 8192;
    const CudaMatrix w(n, k);
    device.randomize(w, 1);
    const auto g = device.random<float>(most, n, 2);
    const DeviceArray all(size_t{most} * k * sizeof(float), "a test"), some(all.bytes(), "a test");
    linear.input(g.as<float>(), most, w, all.as<float>());
    for (const uint32_t rows : {1u, 64u, 257u, 1000u, 4096u}) {  // each a tile of its own
      if (rows > most) continue;
      const size_t first = most - rows;
      linear.input(g.as<float>() + first * n, rows, w, some.as<float>());
      note(faults, case_name(instruction, rows, n, k),
           device.different_bits(some.as<float>(), all.as<float>() + first * k, size_t{rows} * k));
    }
  });
  report(faults);
}
