// The forward pass against Hugging Face transformers: every case, every token, every model, every instruction set.
#include "model/golden.h"

#include <cmath>

#include "check.h"
#include "model/runs.h"

namespace {

using test::Flat;
using test::Golden;

Flat flat_of(const Golden& golden) {
  return {golden.tokens, npr::branch::parallel_layout(golden.tokens, test::golden_vocabulary()),
          test::slots_from(0, golden.tokens.size())};
}

// log sum exp of a row.
double log_sum(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum);
}

struct Difference {
  double sum = 0, max = 0;
  size_t count = 0;
  void add(double value) {
    sum += std::abs(value);
    // Written so that a NaN becomes the maximum.
    if (!(std::abs(value) <= max)) max = std::abs(value);
    ++count;
  }
  double mean() const { return sum / static_cast<double>(count); }
};

Difference compare(std::span<const float> logits, const Golden& golden) {
  const size_t vocab = golden.last_logprobs.size(), rows = golden.tokens.size();
  Difference difference;
  for (size_t i = 0; i + 1 < rows; ++i) {
    const auto row = logits.subspan(i * vocab, vocab);
    const auto next = static_cast<size_t>(golden.tokens[i + 1]);
    difference.add(row[next] - log_sum(row) - golden.token_logprobs[i]);
  }
  const auto last = logits.subspan((rows - 1) * vocab, vocab);
  const double sum = log_sum(last);
  for (size_t i = 0; i < vocab; ++i) difference.add(last[i] - sum - golden.last_logprobs[i]);
  return difference;
}

// `mean_limit`, `max_limit`: of transformers' own bf16 error.
void check_model(const std::string& directory, const std::string& name,
                 test::WeightFormat weights = test::WeightFormat::bf16, double mean_limit = 1, double max_limit = 1.5) {
  const auto goldens = test::load_goldens(name);
  for (const test::Isa isa : test::machine_isas()) {
    auto model = test::make_model(directory, isa, 2, 2048, 2048, weights);
    double worst_mean = 0, worst_max = 0;
    for (size_t i = 0; i < goldens.size(); i += check::stride()) {
      const Golden& golden = goldens[i];
      const Difference difference = compare(test::whole(model, flat_of(golden)), golden);
      CHECK_EQ(difference.count, golden.token_logprobs.size() + golden.last_logprobs.size());
      const double mean = difference.mean() / golden.error_mean, max = difference.max / golden.error_max;
      worst_mean = std::max(worst_mean, mean);
      worst_max = std::max(worst_max, max);
      if (!(mean <= mean_limit) || !(max <= max_limit))
        throw check::Failed(name + " " + golden.name + ", " + model.backend().description() + ": mean error " +
                            std::to_string(difference.mean()) + ", expected at most " + std::to_string(mean_limit) +
                            " times " + std::to_string(golden.error_mean) + "; max " + std::to_string(difference.max) +
                            ", expected at most " + std::to_string(max_limit) + " times " +
                            std::to_string(golden.error_max));
    }
    std::printf("      %s, %s: worst mean %.2f, worst max %.2f of transformers' bf16 error\n", name.c_str(),
                model.backend().description().c_str(), worst_mean, worst_max);
  }
}

}  // namespace

TEST(layout_is_the_goldens) {
  size_t masks = 0;
  for (const char* name : {"npr-lab", "random-mqa", "random-tied", "random-untied-sharded"}) {
    for (const Golden& golden : test::load_goldens(name)) {
      const Flat flat = flat_of(golden);
      CHECK(flat.layout.positions == golden.positions);
      if (golden.mask.empty()) continue;
      ++masks;
      const size_t n = golden.tokens.size();
      std::vector<uint8_t> mask(n * n);
      for (const test::Chunk& chunk : test::chunks_of(flat, 1)) {
        for (const auto& run : test::path_of(chunk))
          std::fill_n(mask.begin() + static_cast<std::ptrdiff_t>(chunk.begin * n + run.begin), run.count, uint8_t{1});
      }
      CHECK(mask == golden.mask);
    }
  }
  CHECK(masks >= 20);
}

TEST(npr_lab) { check_model(std::string(NPR_FIXTURES) + "/npr-lab", "npr-lab"); }
TEST(npr_lab_of_int8) {
  check_model(std::string(NPR_FIXTURES) + "/npr-lab", "npr-lab", test::WeightFormat::int8, 8, 2);
}
TEST(random_mqa) { check_model(std::string(NPR_FIXTURES) + "/random-mqa", "random-mqa"); }
TEST(random_tied) { check_model(std::string(NPR_FIXTURES) + "/random-tied", "random-tied"); }
TEST(random_untied_sharded) {
  check_model(std::string(NPR_FIXTURES) + "/random-untied-sharded", "random-untied-sharded");
}
