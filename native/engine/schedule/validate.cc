#include "schedule/validate.h"

#include <cmath>
#include <string>

#include "error.h"

namespace npr::schedule {

namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_request, message); }

}  // namespace

void validate(const Request& request, const model::Config& config, const branch::Lexicon& lexicon) {
  if (request.prompt.empty()) refuse("the prompt has no tokens; expected at least one");
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    const int32_t token = request.prompt[i];
    if (token < 0 || static_cast<uint32_t>(token) >= config.vocab_size) {
      refuse("prompt token " + std::to_string(i) + " is " + std::to_string(token) + "; expected an id from 0 to " +
             std::to_string(config.vocab_size - 1));
    }
  }
  for (const auto& stop : request.stop) {
    if (stop.empty()) refuse("a stop string is empty; expected at least one character");
  }
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    if (token < 0 || static_cast<uint32_t>(token) >= config.vocab_size) {
      refuse("logit_bias names the token " + std::to_string(token) + "; expected an id from 0 to " +
             std::to_string(config.vocab_size - 1));
    }
  }
  if (!(request.sampling.temperature >= 0) || !std::isfinite(request.sampling.temperature)) {
    refuse("the temperature is " + std::to_string(request.sampling.temperature) + "; expected 0 or more");
  }
  if (request.n == 0) refuse("n is 0; expected at least 1");
  if (request.parallel.enabled && !lexicon.has_tags()) {
    refuse(
        "the model's vocabulary has no parallel tags; expected the eight of <guideline>, <plan>, <step>, <takeaway>");
  }
  if (request.parallel.enabled && (!request.parallel.max_branches || !request.parallel.max_depth)) {
    refuse("max_branches and max_depth must be at least 1");
  }
}

}  // namespace npr::schedule
