// A kernel, decoded: each instruction a function over the 32 lanes of a warp, its operands places in the warp's
// registers.
//
// A register holds 32 lanes side by side, 2, 4 or 8 bytes each; a predicate is one word, a bit a lane. Immediate
// values, addresses of variables and special registers are registers too, which a warp finds filled.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gpu/ptx_text.h"

namespace npr::gpu {

constexpr uint32_t lanes = 32, all_lanes = 0xffffffff, nowhere = 0xffffffff;

struct Warp;
struct Instruction;
// `mask`: the lanes that execute it, never none.
using Handler = void (*)(Warp&, const Instruction&, uint32_t mask);

struct Instruction {
  Handler run = nullptr;
  uint32_t predicate = nowhere;
  bool negated = false;
  uint32_t first = 0;     // of its operands, in Kernel::operands
  int64_t immediate = 0;  // a displacement, a jump's target or a number that the instruction names
  const uint32_t* o = nullptr;
};

enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  lane,
  rank,
  ranks
};

struct Parameter {
  uint32_t offset, bytes;
};

struct Kernel {
  std::string name;
  std::vector<Instruction> code;
  std::vector<uint32_t> operands;
  std::vector<uint32_t> lines;  // of the module's text, an instruction each
  std::vector<std::string> texts;
  uint32_t file_bytes = 0, constants_begin = 0;
  std::vector<uint8_t> constants;                           // of the file, from constants_begin to its end
  std::vector<std::pair<Special, uint32_t>> specials;       // and where they lie
  std::vector<std::pair<uint32_t, uint32_t>> parameter_at;  // registers with addresses of parameters: place, offset
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;
  uint32_t static_shared = 0;  // bytes, and the first that is dynamic, from the window's begin
  uint32_t local_bytes = 0;
};

class Module {
 public:
  // Throws std::runtime_error, naming the line.
  explicit Module(std::string_view ptx);
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  ~Module();

  // Decoded when it is first asked for; nullptr: none of this name. An instruction that is not known fails when it is
  // executed.
  const Kernel* kernel(const std::string& name);
  // Variables in global memory, by name.
  const std::map<std::string, uint8_t*>& globals() const { return globals_; }

 private:
  ModuleText text_;
  std::map<std::string, uint8_t*> globals_;
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
};

// Shared memory begins here in its window: null is no address of it.
constexpr uint32_t shared_begin = 1024;

}  // namespace npr::gpu
