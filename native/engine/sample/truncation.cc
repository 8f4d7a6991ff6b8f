#include "sample/truncation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace npr::sample {

float least_of_top_k(uint32_t k, std::span<float> maxima) {
  if (k > maxima.size()) return std::numeric_limits<float>::lowest();
  std::nth_element(maxima.begin(), maxima.begin() + (k - 1), maxima.end(), std::greater<>());
  return std::max(maxima[k - 1], std::numeric_limits<float>::lowest());  // what is -infinity is no candidate
}

// Entries lighter than (1 - top_p) / vocab weigh at most 1 - top_p together. The margin covers rounding; the
// truncations themselves are exact.
float least_of_top_p(const Params& params, float max, double total, uint32_t vocab) {
  double weight = params.min_p;
  if (params.top_p < 1.0f) {
    const double rest = 1.0 - std::max(0.0, static_cast<double>(params.top_p));
    weight = std::max(weight, rest * total / vocab);
  }
  const double top = static_cast<double>(max), scale = static_cast<double>(params.scale());
  const double margin = 1e-3 + 1e-6 * std::abs(top * scale);
  const double least = top + (std::log(weight) - margin) / scale;
  return static_cast<float>(std::max(least, static_cast<double>(std::numeric_limits<float>::lowest())));
}

void truncate(const Params& params, float max, std::optional<double> total, Candidates& candidates) {
  if (params.top_k > 0) candidates.keep_top_k(params.top_k);
  candidates.weigh(max, params.scale());
  if (params.top_p < 1.0f) {
    const bool of_all = total && params.top_k == 0;
    candidates.keep_top_p(static_cast<double>(params.top_p), of_all ? *total : candidates.total_weight());
  }
  if (params.min_p > 0.0f) candidates.keep_weight(std::min(params.min_p, 1.0f));
}

}  // namespace npr::sample
