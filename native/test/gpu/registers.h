// Where the virtual registers of a kernel lie: those that are never live at once share a place.
#pragma once
#include <cctype>
#include <string>
#include <unordered_map>

#include "gpu/ptx_text.h"

namespace npr::gpu {

struct Register {
  uint32_t place = 0, bits = 0;
};

// Calls f(name) for each name in an operand.
template <class F>
void each_name(const std::string& operand, F f) {
  for (size_t begin = 0; begin < operand.size();) {
    const auto inside = [&](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '#';
    };
    if (!inside(operand[begin])) {
      ++begin;
      continue;
    }
    size_t end = begin;
    while (end < operand.size() && inside(operand[end])) ++end;
    f(operand.substr(begin, end - begin));
    begin = end;
  }
}

// Bytes of a register: 32 lanes, or a bit each of a word.
uint32_t register_bytes(uint32_t bits);

// By name; `bytes`: of all. A kernel has thousands, of which tens live together: a warp's stay in a core's cache.
std::unordered_map<std::string, Register> lay_out_registers(const KernelText& text, uint32_t& bytes);

}  // namespace npr::gpu
