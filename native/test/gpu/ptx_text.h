// PTX, as nvcc writes it, taken apart into statements: names with their scopes resolved, nothing interpreted.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace npr::gpu {

// `@!p opcode.modifiers a, {b, c}, [d+4];`: the opcode with its modifiers, operands without spaces.
struct Statement {
  std::string opcode;
  std::string predicate;  // empty: none
  bool negated = false;
  std::vector<std::string> operands;
  uint32_t line = 0;  // of the module's text, from 1
};

struct Variable {
  uint64_t bytes = 0;
  uint32_t align = 1;
  std::vector<uint8_t> values;  // of those with an initializer
};

struct KernelText {
  std::map<std::string, Variable> parameters;  // in no order; `parameter_order` has it
  std::vector<std::string> parameter_order;
  std::map<std::string, uint32_t> registers;  // bits; 1: a predicate. `%r<9>` stands as `%r` in `banks`
  std::map<std::string, uint32_t> banks;      // bits, by prefix
  std::map<std::string, Variable> shared, local;
  std::map<std::string, uint32_t> labels;  // index of the statement that follows
  std::vector<Statement> statements;
};

struct ModuleText {
  std::map<std::string, KernelText> kernels;
  std::map<std::string, Variable> shared, global;
  std::vector<std::string> dynamic_shared;  // `.extern .shared`
};

// Throws std::runtime_error naming the line.
ModuleText parse_ptx(std::string_view text);

}  // namespace npr::gpu
