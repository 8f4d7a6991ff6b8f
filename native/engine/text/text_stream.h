// The text of one branch, from its tokens' bytes to what may be sent.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "text/stop_matcher.h"
#include "text/utf8.h"

namespace npr::text {

// Whole characters, less what may still become a stop string. Thread safety: one thread at a time.
class TextStream {
 public:
  explicit TextStream(const StopSet& stops) : matcher_(stops) {}  // must outlive the stream

  // Takes a token's bytes; returns the text that may go out now, nothing once stopped.
  std::string push(std::string_view bytes);
  // Ends a stretch of text (the sequence ends, or a block opens): returns the rest, an incomplete character as U+FFFD.
  // What follows is matched anew. A stop string may become whole here, by that character.
  std::string flush();
  // Which stop string ended the text; -1: none yet.
  int32_t stopped() const { return matcher_.stopped(); }

 private:
  Utf8Assembler characters_;
  StopMatcher matcher_;
  std::string whole_;  // a buffer
};

}  // namespace npr::text
