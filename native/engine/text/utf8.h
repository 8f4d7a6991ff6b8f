// Whole UTF-8 characters from bytes that come in pieces.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace npr::text {

// Holds back a character's first bytes (at most 3) until the rest comes. What can't be UTF-8 becomes U+FFFD, one for
// each maximal part of a character, as the WHATWG Encoding Standard and Python's 'replace' do: the text does not depend
// on how the bytes were split. Thread safety: one thread at a time.
class Utf8Assembler {
 public:
  // Appends to `out` the characters that are whole now.
  void push(std::string_view bytes, std::string& out);
  // Ends the text: a character still incomplete becomes U+FFFD.
  void flush(std::string& out);

 private:
  void start(uint8_t byte, std::string& out);

  std::string pending_;
  uint32_t missing_ = 0;                    // bytes until the pending character is whole
  uint8_t lowest_ = 0x80, highest_ = 0xbf;  // what its next byte may be
};

// All of a text at once.
std::string whole_characters(std::string_view bytes);

}  // namespace npr::text
