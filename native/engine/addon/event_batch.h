// Events on their way to JavaScript.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "event.h"

namespace npr::addon {

// A batch is one array of numbers and one string: two values to hand over, however many events there are, where an
// object for each would take JavaScript's thread most of its time. Of every event: its request, its type, the fields of
// that type. A text is its length in UTF-16 units here and its characters in `text`; a list is its length, then its
// items. src/engine/event_reader.ts reads this.
struct EventBatch {
  std::vector<double> numbers;
  std::string text;  // UTF-8

  void add(const Event& event);

 private:
  template <class... Numbers>
  void put(Numbers... values) {
    (numbers.push_back(static_cast<double>(values)), ...);
  }
  void put_text(std::string_view characters);
  void put_tokens(const std::vector<int32_t>& tokens);
  void put_logprobs(const std::vector<TokenLogprob>& logprobs);
  void put_usage(const Usage& usage);
};

}  // namespace npr::addon
