#include "train/loss.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace npr::train {

void validate(const Loss& loss) {
  if (loss.kind != Loss::Kind::clipped) return;
  const auto require = [](bool holds, const char* name, float value, const char* expected) {
    if (holds) return;
    throw Error(ErrorCode::invalid_request,
                "the loss's " + std::string(name) + " is " + std::to_string(value) + "; expected " + expected);
  };
  require(loss.low >= 0 && loss.low < 1, "low", loss.low, "0 or more, and less than 1");
  require(loss.high >= 0 && std::isfinite(loss.high), "high", loss.high, "0 or more");
  require(loss.dual > 1 + loss.high && std::isfinite(loss.dual), "dual", loss.dual, "more than 1 + high");
}

Term term(const Loss& loss, float weight, float logp, float old_logp) {
  const double w = static_cast<double>(weight);
  if (loss.kind == Loss::Kind::likelihood) {
    if (!std::isfinite(logp)) return {};
    return {-w * static_cast<double>(logp), -w, false};
  }
  const double ratio = std::exp(static_cast<double>(logp) - static_cast<double>(old_logp));
  const double kept = std::clamp(ratio, 1 - static_cast<double>(loss.low), 1 + static_cast<double>(loss.high));
  double objective = std::min(ratio * w, kept * w);
  if (w < 0) objective = std::max(objective, static_cast<double>(loss.dual) * w);
  const bool clipped = objective != ratio * w;
  return {-objective, clipped ? 0 : -ratio * w, clipped};
}

}  // namespace npr::train
