// The CPU backend's linear layers and attention beside the machine's limits, on the shapes of Qwen3-0.6B: one JSON
// object a line on standard output.
//   kernels_bench [threads] [amx|avx512|avx2|plain]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "common/machine_limits.h"
#include "compute/cpu/cpu_backend.h"

namespace {

using namespace npr::compute;

constexpr uint32_t hidden = 1024, intermediate = 3072, head_dim = 128, q_heads = 16, kv_heads = 8, vocab = 151936;

using npr::bench::Limits;

double limit_us(const Limits& limits, double bytes, double flops) {
  return 1e6 * std::max(bytes / limits.bytes_per_second, flops / limits.flops_per_second);
}

double median_seconds(int rounds, const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < rounds + 1; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    if (i) times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// The values cost nothing: 1.0 everywhere takes as long as anything.
std::vector<bf16> ones(size_t count) { return std::vector<bf16>(count, 0x3f80); }

// Copies of a matrix until they outgrow the caches, so that each call reads its weights from memory.
std::vector<std::unique_ptr<Matrix>> copies(Backend& backend, uint32_t n, uint32_t k) {
  const auto weights = ones(size_t{n} * k);
  const HostRows rows{weights.data(), DType::bf16, n};
  std::vector<std::unique_ptr<Matrix>> out;
  for (size_t bytes = 0; bytes < (size_t{1280} << 20); bytes += weights.size() * 2) {
    out.push_back(backend.pack({&rows, 1}, k));
  }
  return out;
}

void linear_layers(Backend& backend, const Limits& limits) {
  struct Shape {
    const char* name;
    uint32_t n, k;
  };
  const Shape shapes[] = {{"qkv", (q_heads + 2 * kv_heads) * head_dim, hidden},
                          {"output", hidden, q_heads * head_dim},
                          {"gate, up", 2 * intermediate, hidden},
                          {"down", hidden, intermediate},
                          {"vocabulary", vocab, hidden}};
  for (const Shape& s : shapes) {
    const auto matrices = copies(backend, s.n, s.k);
    for (uint32_t rows : {1, 2, 4, 8, 16, 32, 512}) {
      if (s.n == vocab && rows > 64) continue;
      const auto x = ones(size_t{rows} * s.k);
      const auto out = std::static_pointer_cast<float>(backend.allocate(size_t{rows} * s.n * sizeof(float)));
      const double all = median_seconds(rows > 64 ? 3 : 9, [&] {
        for (const auto& m : matrices) backend.linear(x.data(), rows, *m, out.get());
      });
      const double seconds = all / static_cast<double>(matrices.size());
      const double bytes = 2.0 * s.n * s.k, flops = 2.0 * rows * s.n * s.k;
      std::printf("{\"type\": \"linear\", \"name\": \"%s\", \"rows\": %u, \"us\": %.1f, \"limit_us\": %.1f}\n", s.name,
                  rows, seconds * 1e6, limit_us(limits, bytes, flops));
    }
  }
}

// `branches` rows, each one key past a shared trunk, whose keys lie from slot `first` on; or one sequence's last `rows`
// rows.
void attend(Backend& backend, const Limits& limits, uint32_t layers, uint32_t trunk, uint32_t branches, uint32_t rows,
            uint32_t first = 0) {
  std::vector<Path> paths;
  std::vector<Sequence> sequences;
  std::vector<Slot> slots;
  for (uint32_t b = 0; b < branches; ++b) {
    // branches' own slots begin a tile each, as the allocator gives them
    paths.push_back({{first, trunk}, {(first + trunk + 15) / 16 * 16 + b * ((rows + 15) / 16 * 16), rows}});
    for (uint32_t r = 0; r < rows; ++r) slots.push_back(paths.back()[1].begin + r);
  }
  for (const Path& path : paths) sequences.push_back({path, trunk + rows, rows});
  const size_t width = size_t{q_heads} * head_dim;
  const auto q = ones(slots.size() * width);
  std::vector<bf16> out(q.size());
  backend.begin(std::vector<int32_t>(slots.size()), slots, sequences);
  const double all = median_seconds(5, [&] {
    for (uint32_t l = 0; l < layers; ++l) backend.attention(l, q.data(), out.data(), nullptr);
  });
  const double seconds = all / layers;
  const double seen = branches * (double{1} * rows * trunk + rows * (rows + 1) / 2.0);
  const double bytes = 4.0 * kv_heads * head_dim * (trunk + branches * rows), flops = 4.0 * width * seen;
  std::printf(
      "{\"type\": \"attention\", \"trunk\": %u, \"branches\": %u, \"rows\": %u, \"first_slot\": %u, \"us\": %.1f, "
      "\"limit_us\": %.1f}\n",
      trunk, branches, rows, first, seconds * 1e6, limit_us(limits, bytes, flops));
  std::fflush(stdout);
}

void attention(Backend& backend, const Limits& limits) {
  constexpr uint32_t layers = 8, slots = 32768 + 1024;  // a layer of 512 keys is 2 MiB: eight outgrow L2
  backend.allocate_kv({layers, kv_heads, head_dim}, slots, q_heads, {std::vector<float>(head_dim / 2)});
  const std::vector<float> qkv(size_t{512} * (q_heads + 2 * kv_heads) * head_dim, 1.0f), norm(head_dim, 1.0f);
  std::vector<bf16> q(size_t{512} * q_heads * head_dim);
  for (uint32_t first = 0; first < slots; first += 512) {
    std::vector<Slot> some(512);
    for (uint32_t i = 0; i < 512; ++i) some[i] = first + i;
    const Run run{first, 512};
    const Sequence sequence{{&run, 1}, 512, 512};
    backend.begin(std::vector<int32_t>(512), some, {&sequence, 1});
    for (uint32_t l = 0; l < layers; ++l)
      backend.rotate_and_store(l, qkv.data(), {norm.data(), norm.data()}, 0, q.data());
  }
  for (uint32_t trunk : {512, 4096, 16384, 32768}) {
    attend(backend, limits, layers, trunk, 1, 1);
    attend(backend, limits, layers, trunk, 8, 1);
  }
  // Values of two neighbouring keys are a pair's lanes no longer.
  for (uint32_t branches : {1, 8}) attend(backend, limits, layers, 4096, branches, 1, 1);
  for (uint32_t trunk : {0, 8192, 32256}) attend(backend, limits, layers, trunk, 1, 512);
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t threads = argc > 1 ? std::atoi(argv[1]) : std::thread::hardware_concurrency();
  const char* isa = argc > 2 ? argv[2] : "";
  const auto is = [&](const char* name) { return std::strcmp(isa, name) == 0; };
  const auto backend = make_cpu_backend({threads, is("avx512")  ? Isa::avx512
                                                  : is("avx2")  ? Isa::avx2
                                                  : is("plain") ? Isa::plain
                                                                : Isa::best});
  const Limits limits = npr::bench::measure_limits({.device = Device::cpu, .cpu = {.threads = threads}});
  std::printf("{\"type\": \"machine\", \"backend\": \"%s\", \"bytes_per_second\": %.6g, \"flops_per_second\": %.6g}\n",
              backend->description().c_str(), limits.bytes_per_second, limits.flops_per_second);
  linear_layers(*backend, limits);
  attention(*backend, limits);
}
