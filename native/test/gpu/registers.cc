#include "gpu/registers.h"

#include <algorithm>

namespace npr::gpu {
namespace {

struct Life {
  std::string name;
  uint32_t bits, first, last;  // statements
  bool read_first;             // or written where some lanes, or none, come by
};

uint32_t bits_in(const KernelText& text, const std::string& name) {
  const auto named = text.registers.find(name);
  if (named != text.registers.end()) return named->second;
  const auto bank = text.banks.find(name.substr(0, name.find_last_not_of("0123456789") + 1));
  return bank == text.banks.end() ? 0 : bank->second;
}

// Whether an instruction gives its first operand a value for all lanes that execute it, and reads none there.
bool writes_first(const Statement& s) {
  const std::string_view opcode = s.opcode;
  return s.predicate.empty() && !opcode.starts_with("st.") && !opcode.starts_with("wgmma.") &&
         !opcode.starts_with("cp.") && !opcode.starts_with("bar") && !opcode.starts_with("nanosleep") &&
         !s.operands.empty() && s.operands.front().front() != '[';
}

std::vector<Life> lives_of(const KernelText& text) {
  std::vector<Life> lives;
  std::unordered_map<std::string, size_t> known;
  for (uint32_t at = 0; at < text.statements.size(); ++at) {
    const Statement& s = text.statements[at];
    const auto note = [&](const std::string& name, bool written) {
      const auto [found, fresh] = known.try_emplace(name, lives.size());
      if (fresh) {
        const uint32_t bits = bits_in(text, name);
        if (bits == 0) {
          found->second = SIZE_MAX;
          return;
        }
        lives.push_back({name, bits, at, at, !written});
      }
      if (found->second == SIZE_MAX) return;
      Life& life = lives[found->second];
      if (life.first == at && !written) life.read_first = true;
      life.last = at;
    };
    if (!s.predicate.empty()) note(s.predicate, false);
    for (size_t i = 0; i < s.operands.size(); ++i) {
      each_name(s.operands[i], [&](const std::string& name) { note(name, i == 0 && writes_first(s)); });
    }
  }
  return lives;
}

// Jumps: from, to.
using Jumps = std::vector<std::pair<uint32_t, uint32_t>>;

// Whether a value that is written at `life.first` may be used where the statement was jumped over.
bool passed_by(const Life& life, const Jumps& forward) {
  return std::ranges::any_of(forward, [&](const auto& jump) {
    return jump.first < life.first && life.first < jump.second && jump.second <= life.last;
  });
}

// What is live where a loop begins stays so to its end; so does, from its begin, what may have its value from the turn
// before: sums that an instruction first ignores are never set.
void extend_over_loops(const KernelText& text, std::vector<Life>& lives) {
  Jumps loops, forward;
  for (uint32_t at = 0; at < text.statements.size(); ++at) {
    const Statement& s = text.statements[at];
    if (!s.opcode.starts_with("bra")) continue;
    const uint32_t target = text.labels.at(s.operands.front());
    if (target <= at) {
      loops.push_back({target, at});
    } else {
      forward.push_back({at, target});
    }
  }
  for (Life& life : lives) {
    const bool looped = std::ranges::any_of(
        loops, [&](const auto& loop) { return loop.first <= life.first && life.first <= loop.second; });
    for (bool changed = true; changed;) {
      changed = false;
      const bool carried = looped && (life.read_first || passed_by(life, forward));
      for (const auto& [begin, end] : loops) {
        const bool enters = life.first < begin && life.last >= begin;
        const bool within = carried && life.first <= end && life.last >= begin;
        if ((enters || within) && life.last < end) life.last = end, changed = true;
        if (within && life.first > begin) life.first = begin, changed = true;
      }
    }
  }
  std::ranges::stable_sort(lives, {}, &Life::first);
}

}  // namespace

uint32_t register_bytes(uint32_t bits) { return bits == 1 ? 4 : 32 * std::max(bits / 8, 2u); }

std::unordered_map<std::string, Register> lay_out_registers(const KernelText& text, uint32_t& bytes) {
  std::vector<Life> lives = lives_of(text);
  extend_over_loops(text, lives);
  std::unordered_map<std::string, Register> out;
  std::map<uint32_t, std::vector<uint32_t>> free;  // places, by the bytes of a register
  std::multimap<uint32_t, Register> ends;          // by the last statement
  bytes = 0;
  for (const Life& life : lives) {  // in the order in which they begin
    while (!ends.empty() && ends.begin()->first < life.first) {
      const Register& r = ends.begin()->second;
      free[register_bytes(r.bits)].push_back(r.place);
      ends.erase(ends.begin());
    }
    const uint32_t size = register_bytes(life.bits);
    auto& places = free[size];
    Register r{bytes, life.bits};
    if (places.empty()) {
      r.place = bytes = (bytes + std::min(size, 64u) - 1) / std::min(size, 64u) * std::min(size, 64u);
      bytes += size;
    } else {
      r.place = places.back();
      places.pop_back();
    }
    out[life.name] = r;
    ends.insert({life.last, r});
  }
  return out;
}

}  // namespace npr::gpu
