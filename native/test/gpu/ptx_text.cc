#include "gpu/ptx_text.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace npr::gpu {
namespace {

bool name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  ModuleText module() {
    for (skip(); at_ < text_.size(); skip()) {
      const std::string word = directive();
      if (word == ".version" || word == ".target" || word == ".address_size") {
        rest_of_line();
      } else if (word == ".visible" || word == ".weak") {
        continue;
      } else if (word == ".extern") {
        extern_ = true;
      } else if (word == ".entry") {
        kernel();
      } else if (word == ".func") {
        function();
      } else if (word == ".shared" || word == ".global" || word == ".const") {
        auto [name, variable] = declaration();
        if (extern_) {
          module_.dynamic_shared.push_back(name);
        } else {
          (word == ".shared" ? module_.shared : module_.global)[name] = variable;
        }
        extern_ = false;
      } else {
        fail("a directive of a module, not '" + word + "'");
      }
    }
    return std::move(module_);
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw std::runtime_error("PTX, line " + std::to_string(line_) + ": expected " + expected);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void advance() {
    if (text_[at_++] == '\n') ++line_;
  }
  void skip() {
    while (at_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(text_[at_]))) {
        advance();
      } else if (text_.substr(at_, 2) == "//") {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else {
        return;
      }
    }
  }
  bool take(char c) {
    skip();
    if (peek() != c) return false;
    advance();
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("'") + c + "', not '" + peek() + "'");
  }
  void rest_of_line() {
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
  }
  std::string directive() {
    skip();
    const size_t begin = at_;
    if (peek() != '.') fail(std::string("a directive, not '") + peek() + "'");
    for (++at_; name_character(peek());) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::string name() {
    skip();
    const size_t begin = at_;
    while (name_character(peek())) ++at_;
    if (at_ == begin) fail(std::string("a name, not '") + peek() + "'");
    return std::string(text_.substr(begin, at_ - begin));
  }
  uint64_t number() { return std::stoull(name(), nullptr, 0); }

  static uint32_t bits_of(std::string_view type) {
    if (type == ".pred") return 1;
    return static_cast<uint32_t>(std::stoul(std::string(type.substr(2))));
  }

  // [.align 8] .b8 name[24] [= {1, 2}]: behind its space, up to the ; or , or ) that follows.
  std::pair<std::string, Variable> declaration() {
    Variable v;
    std::string type = directive();
    if (type == ".align") {
      v.align = static_cast<uint32_t>(number());
      type = directive();
    }
    const uint32_t size = bits_of(type) / 8;
    v.align = std::max(v.align, size);
    v.bytes = size;
    const std::string called = name();
    if (take('[')) {
      skip();
      v.bytes = peek() == ']' ? 0 : size * number();
      expect(']');
    }
    if (take('=')) {
      if (size != 1) fail("an initializer of bytes");
      expect('{');
      do v.values.push_back(static_cast<uint8_t>(number()));
      while (take(','));
      expect('}');
    }
    take(';');
    return {called, v};
  }

  // Declared here, or to be skipped: the engine's kernels call one, for angles beyond 2^31.
  void function() {
    while (peek() != ';' && peek() != '{') advance();
    if (take(';')) return;
    for (int depth = 0; at_ < text_.size();) {
      const char c = peek();
      advance();
      if (c == '{') ++depth;
      if (c == '}' && --depth == 0) return;
    }
  }

  void kernel() {
    const std::string called = name();
    kernel_ = KernelText{};
    scopes_ = {Scope{}};
    expect('(');
    while (!take(')')) {
      if (directive() != ".param") fail("a parameter");
      const auto [parameter, variable] = declaration();
      kernel_.parameters[parameter] = variable;
      kernel_.parameter_order.push_back(parameter);
      take(',');
    }
    for (skip(); peek() == '.'; skip()) {  // how it is to be launched
      directive();
      for (skip(); std::isdigit(static_cast<unsigned char>(peek())) || peek() == ','; skip()) advance();
    }
    expect('{');
    while (!scopes_.empty()) statement();
    for (auto& [index, target] : jumps_) {
      const std::string* label = nullptr;
      for (std::string_view path = target.second; !label;) {
        const auto found = kernel_.labels.find(target.first + std::string(path));
        if (found != kernel_.labels.end()) label = &found->first;
        if (path.empty()) break;
        path = path.substr(0, path.rfind('#'));
      }
      if (!label) fail("the label " + target.first + " in kernel " + called);
      kernel_.statements[index].operands.front() = *label;
    }
    jumps_.clear();
    module_.kernels[called] = std::move(kernel_);
  }

  struct Scope {
    std::string path;  // as in #3#5
    std::map<std::string, std::string> names;
  };

  std::string resolved(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->names.find(name);
      if (found != scope->names.end()) return found->second;
    }
    return name;
  }

  void statement() {
    skip();
    if (take('{')) {
      scopes_.push_back({scopes_.back().path + "#" + std::to_string(++scope_count_), {}});
      return;
    }
    if (take('}')) {
      scopes_.pop_back();
      take(';');
      return;
    }
    if (take(';')) return;
    if (peek() == '.') return declare();
    Statement s;
    s.line = line_;
    if (take('@')) {
      s.negated = take('!');
      s.predicate = resolved(name());
    }
    skip();
    const size_t begin = at_;
    while (name_character(peek()) || peek() == '.' || peek() == ':') {
      if (peek() == ':' && text_.substr(at_, 2) != "::") break;
      at_ += peek() == ':' ? 2 : 1;
    }
    s.opcode = text_.substr(begin, at_ - begin);
    if (s.opcode.empty()) fail(std::string("an instruction, not '") + peek() + "'");
    if (take(':')) {
      kernel_.labels[s.opcode + scopes_.back().path] = static_cast<uint32_t>(kernel_.statements.size());
      return;
    }
    if (s.opcode.starts_with("call")) {  // call.uni (result), function, (arguments);
      while (!take(';')) advance();
    } else {
      while (!take(';')) {
        s.operands.push_back(operand());
        take(',');
      }
    }
    if (s.opcode == "bra" || s.opcode == "bra.uni") {
      jumps_.push_back({kernel_.statements.size(), {s.operands.front(), scopes_.back().path}});
    }
    kernel_.statements.push_back(std::move(s));
  }

  // Up to the comma or semicolon that ends it, its names resolved.
  std::string operand() {
    std::string out;
    for (int depth = 0; skip(), at_ < text_.size();) {
      const char c = peek();
      if (depth == 0 && (c == ',' || c == ';')) break;
      if (name_character(c)) {
        out += resolved(name());
        continue;
      }
      depth += (c == '{' || c == '[') - (c == '}' || c == ']');
      out += c;
      advance();
    }
    return out;
  }

  void declare() {
    const std::string space = directive();
    if (space == ".pragma" || space == ".loc") {
      while (!take(';')) advance();
    } else if (space == ".reg") {
      const uint32_t bits = bits_of(directive());
      do {
        const std::string called = name();
        if (take('<')) {
          kernel_.banks[called] = bits;
          number();
          expect('>');
        } else {
          const std::string full = called + scopes_.back().path;
          scopes_.back().names[called] = full;
          kernel_.registers[full] = bits;
        }
      } while (take(','));
      expect(';');
    } else if (space == ".shared" || space == ".local") {
      const auto [called, variable] = declaration();
      (space == ".shared" ? kernel_.shared : kernel_.local)[called] = variable;
    } else if (space == ".param") {  // of a call
      declaration();
    } else {
      fail("a declaration, not '" + space + "'");
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  uint32_t line_ = 1, scope_count_ = 0;
  bool extern_ = false;
  ModuleText module_;
  KernelText kernel_;
  std::vector<Scope> scopes_;
  std::vector<std::pair<size_t, std::pair<std::string, std::string>>> jumps_;  // statement: label, scope
};

}  // namespace

ModuleText parse_ptx(std::string_view text) { return Parser(text).module(); }

}  // namespace npr::gpu
