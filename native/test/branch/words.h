// A small vocabulary for the tests of branches: turns, tags, digits, letters, characters in pieces.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "branch/lexicon.h"
#include "text/vocabulary.h"

namespace test {

// Token ids.
enum Word : int32_t {
  im_start,
  assistant,
  newline,
  im_end,
  guideline,
  guideline_end,
  plan,
  plan_end,
  step,
  step_end,
  takeaway,
  takeaway_end,
  digit_0,
  digit_9 = digit_0 + 9,
  dot,
  colon,
  space,
  letter_a,
  letter_b,
  letter_ab,
  euro_head,  // the first two bytes of a character
  euro_tail,  // its last
  broken,     // can't be UTF-8
  two_newlines,
  two_colon,  // "2:"
  end_of_text,
  words,
};

inline npr::text::Vocabulary small_vocabulary() {
  std::vector<std::string> texts = {"<|im_start|>", "assistant", "\n",     "<|im_end|>", "<guideline>", "</guideline>",
                                    "<plan>",       "</plan>",   "<step>", "</step>",    "<takeaway>",  "</takeaway>"};
  for (char c = '0'; c <= '9'; ++c) texts.emplace_back(1, c);
  for (const char* text : {".", ":", " ", "a", "b", "ab", "\xe2\x82", "\xac", "\xff", "\n\n", "2:", "<|endoftext|>"}) {
    texts.emplace_back(text);
  }
  npr::text::Vocabulary out;
  for (const auto& text : texts) {
    out.offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
    out.bytes.insert(out.bytes.end(), text.begin(), text.end());
  }
  out.offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
  out.end_tokens = {im_end, end_of_text};
  out.tags = npr::text::Tags{guideline, guideline_end, plan, plan_end, step, step_end, takeaway, takeaway_end};
  out.turn_head = {im_start, assistant, newline};
  out.turn_end = im_end;
  out.newline = {newline};
  out.colon = {colon};
  out.dot = {dot};
  for (int32_t i = 0; i < 10; ++i) out.digits[static_cast<size_t>(i)] = {digit_0 + i};
  return out;
}

inline const npr::branch::Lexicon& small_lexicon() {
  static const npr::branch::Lexicon lexicon(small_vocabulary());
  return lexicon;
}

inline bool is_tag(int32_t token) { return token >= guideline && token <= takeaway_end; }

}  // namespace test
