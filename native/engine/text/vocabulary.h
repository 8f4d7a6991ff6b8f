// What the engine knows of the tokenizer: the bytes of every token, and the tokens that carry structure.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace npr::text {

// The eight tags of the parallel format, each one token.
struct Tags {
  int32_t guideline, guideline_end, plan, plan_end, step, step_end, takeaway, takeaway_end;
};

struct Vocabulary {
  std::vector<uint8_t> bytes;       // of all tokens, one after another
  std::vector<uint32_t> offsets;    // [size + 1]
  std::vector<int32_t> end_tokens;  // end a sequence; never emitted as text
  std::optional<Tags> tags;
  std::vector<int32_t> turn_head;  // <|im_start|> assistant newline; empty where unknown
  int32_t turn_end = -1;           // <|im_end|>
  std::vector<int32_t> newline, colon;
  std::array<std::vector<int32_t>, 10> digits;
  std::vector<int32_t> dot;

  uint32_t size() const { return offsets.empty() ? 0 : static_cast<uint32_t>(offsets.size() - 1); }
  // Bytes of a token; empty for an id beyond the tokenizer (a model's vocabulary may be padded).
  std::string_view token(int32_t id) const {
    if (id < 0 || static_cast<uint32_t>(id) >= size()) return {};
    return {reinterpret_cast<const char*>(bytes.data()) + offsets[id], offsets[id + 1] - offsets[id]};
  }
};

}  // namespace npr::text
