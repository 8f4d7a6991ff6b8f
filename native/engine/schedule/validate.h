// What no engine over this model can ever serve.
#pragma once
#include "branch/lexicon.h"
#include "model/config.h"
#include "request.h"

namespace npr::schedule {

// Throws Error(invalid_request) that names what is wrong with the request and what was expected.
void validate(const Request& request, const model::Config& config, const branch::Lexicon& lexicon);

}  // namespace npr::schedule
