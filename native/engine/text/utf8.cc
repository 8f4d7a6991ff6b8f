#include "text/utf8.h"

namespace npr::text {

namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";

}  // namespace

void Utf8Assembler::start(uint8_t byte, std::string& out) {
  lowest_ = 0x80;
  highest_ = 0xbf;
  if (byte < 0x80) {
    out += static_cast<char>(byte);
    return;
  }
  if (byte < 0xc2 || byte > 0xf4) {
    out += replacement;
    return;
  }
  missing_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  // No overlong forms, no surrogates, nothing above U+10FFFF.
  if (byte == 0xe0) lowest_ = 0xa0;
  if (byte == 0xed) highest_ = 0x9f;
  if (byte == 0xf0) lowest_ = 0x90;
  if (byte == 0xf4) highest_ = 0x8f;
  pending_ += static_cast<char>(byte);
}

void Utf8Assembler::push(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    if (missing_ > 0 && (byte < lowest_ || byte > highest_)) flush(out);
    if (missing_ == 0) {
      start(byte, out);
      continue;
    }
    pending_ += c;
    lowest_ = 0x80;
    highest_ = 0xbf;
    if (--missing_ > 0) continue;
    out += pending_;
    pending_.clear();
  }
}

void Utf8Assembler::flush(std::string& out) {
  if (missing_ > 0) out += replacement;
  missing_ = 0;
  pending_.clear();
}

std::string whole_characters(std::string_view bytes) {
  Utf8Assembler assembler;
  std::string out;
  assembler.push(bytes, out);
  assembler.flush(out);
  return out;
}

}  // namespace npr::text
