// Vocabularies for random models, which have no tokenizer.
#pragma once
#include <cstdint>
#include <numeric>

#include "text/vocabulary.h"

namespace npr::bench {

// Every token is the letter x, and none has structure.
inline text::Vocabulary made_up_vocabulary(uint32_t size) {
  text::Vocabulary out;
  out.bytes.assign(size, 'x');
  out.offsets.resize(size_t{size} + 1);
  std::iota(out.offsets.begin(), out.offsets.end(), 0u);
  return out;
}

}  // namespace npr::bench
