#include "gpu/decoder.h"

#include <algorithm>
#include <charconv>

namespace npr::gpu {
namespace {

const std::map<std::string, Special> special_names = {
    {"%tid.x", Special::tid_x},       {"%tid.y", Special::tid_y},          {"%tid.z", Special::tid_z},
    {"%ntid.x", Special::ntid_x},     {"%ntid.y", Special::ntid_y},        {"%ntid.z", Special::ntid_z},
    {"%ctaid.x", Special::ctaid_x},   {"%ctaid.y", Special::ctaid_y},      {"%ctaid.z", Special::ctaid_z},
    {"%nctaid.x", Special::nctaid_x}, {"%nctaid.y", Special::nctaid_y},    {"%nctaid.z", Special::nctaid_z},
    {"%laneid", Special::lane},       {"%cluster_ctarank", Special::rank}, {"%cluster_nctarank", Special::ranks}};

uint32_t round_up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

void not_known(Warp& w, const Instruction& i, uint32_t) {
  fault("an instruction that this device doesn't have: " + w.kernel->texts[&i - w.kernel->code.data()]);
}

}  // namespace

Opcode::Opcode(std::string_view text) {
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = text.find('.', begin);
    if (end == std::string_view::npos) end = text.size();
    parts_.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

bool Opcode::has(std::string_view part) const { return std::ranges::find(parts_, part) != parts_.end(); }

uint32_t bits_of_type(std::string_view type) {
  if (type == "pred") return 1;
  if (type == "bf16x2" || type == "f16x2") return 32;
  if (type.starts_with("bf")) type.remove_prefix(1);
  if (type.size() < 2 || std::string_view("busf").find(type[0]) == std::string_view::npos) return 0;
  uint32_t bits = 0;
  const auto [end, error] = std::from_chars(type.data() + 1, type.data() + type.size(), bits);
  return error == std::errc{} && end == type.data() + type.size() ? bits : 0;
}

std::vector<std::string> list_of(const std::string& operand) {
  if (operand.empty() || operand[0] != '{') return {operand};
  std::vector<std::string> out;
  for (size_t begin = 1; begin < operand.size();) {
    const size_t end = operand.find_first_of(",}", begin);
    out.push_back(operand.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

Decoder::Decoder(const ModuleText& module, const KernelText& text, const Module& loaded)
    : module_(module), text_(text), loaded_(loaded), out_(std::make_unique<Kernel>()) {
  lay_out();
}

uint32_t Decoder::reserve(uint32_t bits) {
  const uint32_t at = round_up(out_->file_bytes, bits == 1 ? 4 : 64);
  out_->file_bytes = at + register_bytes(bits);
  return at;
}

void Decoder::lay_out() {
  registers_ = lay_out_registers(text_, out_->file_bytes);
  out_->constants_begin = out_->file_bytes = round_up(out_->file_bytes, 64);
  uint32_t shared = shared_begin, dynamic_align = 16;
  const auto place = [&](const std::map<std::string, Variable>& variables) {
    for (const auto& [name, v] : variables) {
      shared = round_up(shared, v.align);
      symbols_[name] = shared;
      shared += static_cast<uint32_t>(v.bytes);
    }
  };
  place(text_.shared);
  std::map<std::string, Variable> used;  // of the module's, by functions that became part of the kernel
  for (const Statement& s : text_.statements) {
    for (const std::string& operand : s.operands) {
      each_name(operand, [&](const std::string& name) {
        const auto found = module_.shared.find(name);
        if (found != module_.shared.end()) used.insert(*found);
      });
    }
  }
  place(used);
  if (!module_.dynamic_shared.empty()) dynamic_align = 1024;  // no less than any that is asked for
  out_->static_shared = round_up(shared, dynamic_align) - shared_begin;
  for (const std::string& name : module_.dynamic_shared) symbols_[name] = shared_begin + out_->static_shared;
  for (const auto& [name, v] : text_.local) {
    symbols_[name] = out_->local_bytes;
    out_->local_bytes += round_up(static_cast<uint32_t>(v.bytes), 16);
  }
  for (const auto& [name, data] : loaded_.globals()) symbols_[name] = reinterpret_cast<uint64_t>(data);
  for (const std::string& name : text_.parameter_order) {
    const Variable& v = text_.parameters.at(name);
    const uint32_t at = round_up(out_->parameter_bytes, v.align);
    parameters_[name] = {at, static_cast<uint32_t>(v.bytes)};
    out_->parameters.push_back(parameters_[name]);
    out_->parameter_bytes = at + static_cast<uint32_t>(v.bytes);
  }
}

const Parameter* Decoder::parameter(const std::string& name) const {
  const auto found = parameters_.find(name);
  return found == parameters_.end() ? nullptr : &found->second;
}

uint32_t Decoder::place_of(const std::string& token) const {
  const auto found = registers_.find(token);
  if (found == registers_.end()) throw std::runtime_error("no register is called " + token);
  return found->second.place;
}

uint32_t Decoder::bits_of(const std::string& token) const {
  const auto found = registers_.find(token);
  return found == registers_.end() ? 0 : found->second.bits;
}

std::optional<uint64_t> Decoder::immediate(const std::string& token, uint32_t bits) const {
  if (token.starts_with("0f")) {
    const auto word = static_cast<uint32_t>(std::stoul(token.substr(2), nullptr, 16));
    if (bits != 64) return word;
    const double wide = std::bit_cast<float>(word);
    return std::bit_cast<uint64_t>(wide);
  }
  if (token.starts_with("0d")) return std::stoull(token.substr(2), nullptr, 16);
  const bool minus = token[0] == '-';
  if (token.size() == minus || !std::isdigit(static_cast<unsigned char>(token[minus]))) return {};
  const uint64_t magnitude = std::stoull(token.substr(minus), nullptr, 0);
  return minus ? -magnitude : magnitude;
}

std::optional<uint64_t> Decoder::symbol(const std::string& token) const {
  const auto found = symbols_.find(token);
  if (found == symbols_.end()) return {};
  return found->second;
}

uint32_t Decoder::constant(uint64_t value, uint32_t bits) {
  if (bits < 64 && bits > 1) value &= (uint64_t{1} << bits) - 1;
  const auto [at, fresh] = constants_.try_emplace({bits, value}, 0);
  if (fresh) at->second = reserve(bits);
  return at->second;
}

uint32_t Decoder::special(const std::string& token) {
  const auto found = special_names.find(token);
  if (found == special_names.end()) throw std::runtime_error("no register is called " + token);
  const auto [at, fresh] = specials_.try_emplace(token, 0);
  if (fresh) {
    at->second = reserve(32);
    out_->specials.push_back({found->second, at->second});
  }
  return at->second;
}

uint32_t Decoder::value_of(const std::string& token, uint32_t bits) {
  if (const auto number = immediate(token, bits)) {
    return constant(bits == 1 ? (*number ? all_lanes : 0) : *number, bits);
  }
  if (const auto at = symbol(token)) return constant(*at, bits);
  if (const Parameter* p = parameter(token)) {
    const auto [at, fresh] = addresses_.try_emplace(token, 0);
    if (fresh) {
      at->second = reserve(64);
      out_->parameter_at.push_back({at->second, p->offset});
    }
    return at->second;
  }
  const uint32_t declared = bits_of(token);
  if (declared == 0) return special(token);
  if (declared != bits) {
    throw std::runtime_error(token + " has " + std::to_string(declared) + " bits, not " + std::to_string(bits));
  }
  return place_of(token);
}

Decoder& Decoder::address(const std::string& token, bool wide, Instruction& i) {
  const std::string inner = token.substr(1, token.size() - 2);
  const size_t plus = inner.find('+');
  const std::string base = inner.substr(0, plus);
  i.immediate = plus == std::string::npos ? 0 : std::stoll(inner.substr(plus + 1));
  return value(base, wide ? 64 : 32);
}

Decoder& Decoder::plain_address(const std::string& token, bool wide) {
  Instruction displaced;
  address(token, wide, displaced);
  if (displaced.immediate) throw std::runtime_error("a displacement in " + token);
  return *this;
}

std::unique_ptr<Kernel> Decoder::kernel(const std::string& name) {
  constexpr Decode decoders[] = {decode_arithmetic,    decode_conversion, decode_access,     decode_synchronization,
                                 decode_lane_exchange, decode_matrix,     decode_tensor_copy};
  out_->name = name;
  for (const Statement& s : text_.statements) {
    Instruction i;
    i.first = static_cast<uint32_t>(out_->operands.size());
    std::string text = s.opcode;
    for (const std::string& operand : s.operands) text += " " + operand;
    try {
      if (!s.predicate.empty()) i.predicate = place_of(s.predicate), i.negated = s.negated;
      const Opcode opcode(s.opcode);
      for (const Decode decode : decoders) {
        if ((i.run = decode(*this, s, opcode, i))) break;
      }
    } catch (const std::exception& error) {
      throw std::runtime_error("PTX, line " + std::to_string(s.line) + ": " + text + ": " + error.what());
    }
    if (!i.run) i.run = not_known;
    out_->code.push_back(i);
    out_->lines.push_back(s.line);
    out_->texts.push_back(std::move(text));
  }
  for (Instruction& i : out_->code) i.o = out_->operands.data() + i.first;
  out_->constants.resize(out_->file_bytes - out_->constants_begin);
  for (const auto& [key, at] : constants_) {
    const auto [bits, value] = key;
    for (uint32_t lane = 0; lane < (bits == 1 ? 1 : lanes); ++lane) {
      const uint32_t bytes = bits == 1 ? 4 : std::max(bits / 8, 2u);
      std::memcpy(out_->constants.data() + (at - out_->constants_begin) + lane * bytes, &value, bytes);
    }
  }
  return std::move(out_);
}

Module::Module(std::string_view ptx) : text_(parse_ptx(ptx)) {
  for (const auto& [name, v] : text_.global) {
    auto* const data = static_cast<uint8_t*>(Memory::get().allocate(v.bytes, false));
    if (!data) throw std::runtime_error("no memory for " + name);
    std::fill_n(data, v.bytes, uint8_t{0});
    std::ranges::copy(v.values, data);
    globals_[name] = data;
  }
}

Module::~Module() {
  for (const auto& [name, data] : globals_) Memory::get().free(data);
}

const Kernel* Module::kernel(const std::string& name) {
  const auto text = text_.kernels.find(name);
  if (text == text_.kernels.end()) return nullptr;
  std::unique_ptr<Kernel>& kernel = kernels_[name];
  if (!kernel) kernel = Decoder(text_, text->second, *this).kernel(name);
  return kernel.get();
}

}  // namespace npr::gpu
