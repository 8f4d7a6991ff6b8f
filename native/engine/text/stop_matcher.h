// Stop strings over a stream of text.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace npr::text {

// The stop strings of a request, prepared for matching. Thread safety: immutable.
class StopSet {
 public:
  // Throws Error(invalid_request) where one is empty.
  explicit StopSet(std::span<const std::string> stops);

 private:
  friend class StopMatcher;
  struct Pattern {
    std::string text;
    std::vector<uint32_t> border;  // [i]: the longest proper prefix of text that ends text[0, i]
  };
  std::vector<Pattern> patterns_;
};

// The text ends where it first contains a stop string, and is cut before that string; of several that end at the same
// byte the longest counts (and of equal ones the first). So neither depends on how the text was split.
// Held back is the longest end of the text that may still become a stop string, so that none ever leaks in part.
// Thread safety: one thread at a time.
class StopMatcher {
 public:
  explicit StopMatcher(const StopSet& stops);  // must outlive the matcher

  // Appends to `out` the text that may go out now; nothing once stopped.
  void push(std::string_view text, std::string& out);
  // Releases what is held back and forgets it: no stop string matches across this point.
  void flush(std::string& out);
  // Which stop string ended the text; -1: none yet.
  int32_t stopped() const { return stopped_; }

 private:
  const StopSet* stops_;
  std::vector<uint32_t> matched_;  // [patterns] how much of each the text ends with
  std::string held_;
  int32_t stopped_ = -1;
};

}  // namespace npr::text
