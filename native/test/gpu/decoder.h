// From statements to instructions: where operands lie, and which function each opcode is.
#pragma once
#include <optional>
#include <string_view>

#include "gpu/registers.h"
#include "gpu/warp.h"

namespace npr::gpu {

class Decoder {
 public:
  Decoder(const ModuleText& module, const KernelText& text, const Module& loaded);

  std::unique_ptr<Kernel> kernel(const std::string& name);

  // Of the instruction that is being decoded: its operands in the order in which the handler finds them.
  Decoder& push(uint32_t place) {
    out_->operands.push_back(place);
    return *this;
  }
  Decoder& reg(const std::string& token) { return push(place_of(token)); }
  // A register of `bits`, or a value of that width.
  Decoder& value(const std::string& token, uint32_t bits) { return push(value_of(token, bits)); }
  // `[base+displacement]`: pushes the base, 8 bytes wide where `wide`, and keeps the displacement.
  Decoder& address(const std::string& token, bool wide, Instruction& i);
  // The same where it is not the only one of its instruction: the displacement has to be 0.
  Decoder& plain_address(const std::string& token, bool wide);

  uint32_t place_of(const std::string& token) const;
  uint32_t bits_of(const std::string& token) const;
  uint32_t value_of(const std::string& token, uint32_t bits);
  uint32_t constant(uint64_t value, uint32_t bits);
  uint32_t label(const std::string& name) const { return text_.labels.at(name); }
  const Parameter* parameter(const std::string& name) const;

 private:
  std::optional<uint64_t> immediate(const std::string& token, uint32_t bits) const;
  std::optional<uint64_t> symbol(const std::string& token) const;
  uint32_t special(const std::string& token);
  uint32_t reserve(uint32_t bits);
  void lay_out();

  const ModuleText& module_;
  const KernelText& text_;
  const Module& loaded_;
  std::unique_ptr<Kernel> out_;
  std::unordered_map<std::string, Register> registers_;
  std::map<std::string, uint64_t> symbols_;
  std::map<std::string, Parameter> parameters_;
  std::map<std::pair<uint32_t, uint64_t>, uint32_t> constants_;
  std::map<std::string, uint32_t> specials_, addresses_;
};

// Modifiers of an opcode: what stands between its dots.
class Opcode {
 public:
  explicit Opcode(std::string_view text);
  std::string_view base() const { return parts_.front(); }
  std::string_view last() const { return parts_.back(); }
  std::string_view part(size_t i) const { return i < parts_.size() ? parts_[i] : std::string_view{}; }
  bool has(std::string_view part) const;
  size_t size() const { return parts_.size(); }

 private:
  std::vector<std::string_view> parts_;
};

// Each pushes the operands and returns the handler; nullptr: not one of its instructions.
using Decode = Handler (*)(Decoder&, const Statement&, const Opcode&, Instruction&);
Handler decode_arithmetic(Decoder&, const Statement&, const Opcode&, Instruction&);
Handler decode_conversion(Decoder&, const Statement&, const Opcode&, Instruction&);
Handler decode_access(Decoder&, const Statement&, const Opcode&, Instruction&);
Handler decode_synchronization(Decoder&, const Statement&, const Opcode&, Instruction&);
Handler decode_lane_exchange(Decoder&, const Statement&, const Opcode&, Instruction&);
Handler decode_matrix(Decoder&, const Statement&, const Opcode&, Instruction&);
Handler decode_tensor_copy(Decoder&, const Statement&, const Opcode&, Instruction&);

// The names in {a, b, c}, or the one that stands alone.
std::vector<std::string> list_of(const std::string& operand);

// 1 for a predicate; 0: not a type.
uint32_t bits_of_type(std::string_view type);

}  // namespace npr::gpu
