#include "model/json.h"

#include <algorithm>
#include <charconv>

#include "error.h"

namespace npr::model {

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ < text_.size()) fail("expected the end of the document");
    return value;
  }

 private:
  static constexpr int max_depth = 64;

  [[noreturn]] void fail(const std::string& expected) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    throw Error(ErrorCode::invalid_checkpoint, source_ + ": line " + std::to_string(line) + ", byte " +
                                                   std::to_string(at_) + ": " + expected + ", found " + found());
  }

  std::string found() const {
    if (at_ >= text_.size()) return "the end of the text";
    const auto byte = static_cast<unsigned char>(text_[at_]);
    if (byte >= 0x20 && byte < 0x7f) return std::string("'") + text_[at_] + "'";
    static constexpr char hex[] = "0123456789abcdef";
    return std::string("byte 0x") + hex[byte >> 4] + hex[byte & 15];
  }

  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }
  void require(char c, const char* expected) {
    if (!take(c)) fail(expected);
  }
  void skip_space() {
    while (next_is(' ') || next_is('\t') || next_is('\n') || next_is('\r')) ++at_;
  }
  bool digit() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }
  void digits() {
    if (!digit()) fail("expected a digit");
    while (digit()) ++at_;
  }

  Json parse_value(int depth) {
    if (depth > max_depth) fail("expected at most " + std::to_string(max_depth) + " levels of nesting");
    skip_space();
    Json value;
    if (next_is('{')) {
      parse_object(value, depth);
    } else if (next_is('[')) {
      parse_array(value, depth);
    } else if (next_is('"')) {
      value.kind_ = Json::Kind::string;
      value.string_ = parse_string();
    } else if (next_is('-') || digit()) {
      parse_number(value);
    } else if (take_word("true")) {
      value.kind_ = Json::Kind::boolean;
      value.boolean_ = true;
    } else if (take_word("false")) {
      value.kind_ = Json::Kind::boolean;
    } else if (!take_word("null")) {
      fail("expected a value");
    }
    return value;
  }

  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void parse_object(Json& value, int depth) {
    value.kind_ = Json::Kind::object;
    ++at_;
    skip_space();
    if (!take('}')) {
      do {
        skip_space();
        if (!next_is('"')) fail("expected a key");
        std::string key = parse_string();
        skip_space();
        require(':', "expected ':' after a key");
        value.members_.push_back({std::move(key), parse_value(depth + 1)});
        skip_space();
      } while (take(','));
      require('}', "expected ',' or '}' after a member");
    }
    auto& members = value.members_;
    std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    const auto twice =
        std::adjacent_find(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.key == b.key; });
    if (twice == members.end()) return;
    --at_;  // the object's end
    fail("expected every key of this object once, not \"" + twice->key + "\" again");
  }

  void parse_array(Json& value, int depth) {
    value.kind_ = Json::Kind::array;
    ++at_;
    skip_space();
    if (take(']')) return;
    do {
      value.array_.push_back(parse_value(depth + 1));
      skip_space();
    } while (take(','));
    require(']', "expected ',' or ']' after an element");
  }

  void parse_number(Json& value) {
    value.kind_ = Json::Kind::number;
    const size_t begin = at_;
    bool whole = true;
    take('-');
    if (!take('0')) digits();
    if (digit()) fail("expected no digit after a leading zero");
    if (take('.')) {
      whole = false;
      digits();
    }
    if (take('e') || take('E')) {
      whole = false;
      if (!take('+')) take('-');
      digits();
    }
    const char* const first = text_.data() + begin;
    const char* const last = text_.data() + at_;
    if (std::from_chars(first, last, value.number_).ec != std::errc{}) {
      at_ = begin;
      fail("expected a number within a double's range");
    }
    int64_t exact = 0;
    if (whole && std::from_chars(first, last, exact).ec == std::errc{}) value.integer_ = exact;
  }

  std::string parse_string() {
    ++at_;
    std::string out;
    while (!take('"')) {
      if (at_ >= text_.size()) fail("expected '\"' at a string's end");
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '\\') {
        ++at_;
        parse_escape(out);
      } else if (byte < 0x20) {
        fail("expected control characters in strings to be escaped");
      } else if (byte < 0x80) {
        out += text_[at_++];
      } else {
        const size_t size = utf8_size();
        out += text_.substr(at_, size);
        at_ += size;
      }
    }
    return out;
  }

  // Bytes of the non-ASCII character here: the well-formed sequences of RFC 3629, which excludes overlong forms,
  // surrogates and what lies past U+10FFFF.
  size_t utf8_size() const {
    const auto byte = [&](size_t i) -> unsigned {
      return at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0;
    };
    const auto between = [&](size_t i, unsigned low, unsigned high) { return byte(i) >= low && byte(i) <= high; };
    const unsigned b = byte(0);
    size_t size = 0;
    if (b >= 0xc2 && b <= 0xdf && between(1, 0x80, 0xbf)) size = 2;
    const unsigned low3 = b == 0xe0 ? 0xa0 : 0x80, high3 = b == 0xed ? 0x9f : 0xbf;
    if (b >= 0xe0 && b <= 0xef && between(1, low3, high3) && between(2, 0x80, 0xbf)) size = 3;
    const unsigned low4 = b == 0xf0 ? 0x90 : 0x80, high4 = b == 0xf4 ? 0x8f : 0xbf;
    if (b >= 0xf0 && b <= 0xf4 && between(1, low4, high4) && between(2, 0x80, 0xbf) && between(3, 0x80, 0xbf)) size = 4;
    if (size == 0) fail("expected valid UTF-8");
    return size;
  }

  void parse_escape(std::string& out) {
    static constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
    const size_t simple = at_ < text_.size() ? from.find(text_[at_]) : std::string_view::npos;
    if (simple != std::string_view::npos) {
      ++at_;
      out += to[simple];
      return;
    }
    require('u', "expected one of \" \\ / b f n r t u after '\\'");
    uint32_t code = hex4();
    if (code >= 0xdc00 && code <= 0xdfff) fail("expected a high surrogate before a low one");
    if (code >= 0xd800 && code <= 0xdbff) {
      if (!take('\\') || !take('u')) fail("expected a low surrogate after a high one");
      const uint32_t low = hex4();
      if (low < 0xdc00 || low > 0xdfff) fail("expected a low surrogate after a high one");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(code, out);
  }

  uint32_t hex4() {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        digit = static_cast<uint32_t>((c | 0x20) - 'a' + 10);
      } else {
        fail("expected four hexadecimal digits after \\u");
      }
      code = code * 16 + digit;
      ++at_;
    }
    return code;
  }

  static void append_utf8(uint32_t code, std::string& out) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xc0 | (code >> 6));
      tail(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xe0 | (code >> 12));
      tail(6), tail(0);
    } else {
      out += static_cast<char>(0xf0 | (code >> 18));
      tail(12), tail(6), tail(0);
    }
  }

  std::string_view text_;
  const std::string& source_;
  size_t at_ = 0;
};

Json Json::parse(std::string_view text, const std::string& source) { return JsonParser(text, source).document(); }

const Json* Json::find(std::string_view key) const {
  const auto it = std::lower_bound(members_.begin(), members_.end(), key,
                                   [](const Member& member, std::string_view k) { return member.key < k; });
  return it != members_.end() && it->key == key ? &it->value : nullptr;
}

std::string Json::describe() const {
  switch (kind_) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return boolean_ ? "true" : "false";
    case Kind::number: {
      char digits[32];
      const auto end = integer_ ? std::to_chars(digits, std::end(digits), *integer_)
                                : std::to_chars(digits, std::end(digits), number_);
      return {digits, end.ptr};
    }
    case Kind::string: {
      std::string out = "\"";
      if (string_.size() <= 64) return out.append(string_).append("\"");
      size_t cut = 60;
      while ((string_[cut] & 0xc0) == 0x80) --cut;  // not within a character
      return out.append(string_, 0, cut).append("...\"");
    }
    case Kind::array: {
      if (array_.size() > 8) return "an array of " + std::to_string(array_.size());
      std::string out = "[";
      for (const Json& element : array_) {
        if (&element != array_.data()) out += ", ";
        out += element.describe();
      }
      out += ']';
      return out;
    }
    case Kind::object:
      return "an object";
  }
  return {};
}

}  // namespace npr::model
