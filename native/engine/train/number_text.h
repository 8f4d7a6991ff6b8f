// Numbers in messages and files.
#pragma once
#include <charconv>
#include <string>

namespace npr::train {

// The shortest decimal that reads back as the same number.
inline std::string number_text(double number) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, number).ptr};
}

}  // namespace npr::train
