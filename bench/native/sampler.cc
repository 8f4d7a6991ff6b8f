// Time to draw one token, by vocabulary and settings: the smallest and the median of the rounds, in microseconds.
//   sampler_bench [vocab] [rounds]
#include "sample/sampler.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "sample/softmax_kernels.h"

namespace {

using namespace npr::sample;

struct Setting {
  const char* name;
  Params params;
  int32_t logprobs = -1;
};

std::vector<Setting> settings() {
  const auto with = [](float temperature, float top_p, uint32_t top_k, float min_p) {
    Params p;
    p.temperature = temperature;
    p.top_p = top_p;
    p.top_k = top_k;
    p.min_p = min_p;
    return p;
  };
  return {{"greedy", with(0, 1, 0, 0)},
          {"greedy, 20 logprobs", with(0, 1, 0, 0), 20},
          {"temperature 1", with(1, 1, 0, 0)},
          {"temperature 1, 20 logprobs", with(1, 1, 0, 0), 20},
          {"temperature 0.6, top_k 20, top_p 0.95", with(0.6f, 0.95f, 20, 0)},
          {"temperature 0.6, top_p 0.95", with(0.6f, 0.95f, 0, 0)},
          {"temperature 1, top_p 0.95", with(1, 0.95f, 0, 0)},
          {"temperature 1, min_p 0.05", with(1, 1, 0, 0.05f)}};
}

}  // namespace

int main(int argc, char** argv) {
  const auto vocab = static_cast<uint32_t>(argc > 1 ? std::atoi(argv[1]) : 151936);
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 200;
  std::printf("vocabulary %u, %s kernels, one thread, %d rounds\n", vocab, kernels().name, rounds);
  Scratch scratch;
  const std::vector<int32_t> masked = {0, static_cast<int32_t>(vocab) - 1};
  // From nearly flat logits to those of a confident model.
  for (const float deviation : {1.0f, 3.0f, 6.0f}) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, deviation);
    std::vector<float> logits(vocab);
    for (float& x : logits) x = normal(random);
    std::printf("logits of standard deviation %.0f\n", static_cast<double>(deviation));
    for (const Setting& setting : settings()) {
      std::vector<double> times;
      for (int round = 0; round < rounds; ++round) {
        Row row{logits.data(), vocab, &setting.params, Stream::root(1, 0), static_cast<uint64_t>(round)};
        row.mask.forbid(masked);
        row.logprobs = setting.logprobs;
        const auto start = std::chrono::steady_clock::now();
        sample(row, scratch);
        times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
      }
      std::sort(times.begin(), times.end());
      std::printf("  %-40s %8.1f %8.1f\n", setting.name, times.front(), times[times.size() / 2]);
    }
  }
}
