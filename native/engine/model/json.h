// A strict JSON reader (RFC 8259) for the small files of a model directory and for safetensors headers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace npr::model {

// One JSON value. Stricter than the RFC asks: UTF-8 must be valid, surrogates paired, keys unique, numbers within a
// double's range, nesting at most 64 deep.
// Thread safety: immutable once parsed.
class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };
  struct Member;

  // `source` names the text in errors: Error(invalid_checkpoint), "SOURCE: line 3, byte 41: ...", where the byte is
  // counted from 0 over the whole text.
  static Json parse(std::string_view text, const std::string& source);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  // What a person reads in an error: numbers and strings as they are (long ones cut), others by kind.
  std::string describe() const;

  // Meaningful for the kind in question, else empty or zero.
  bool boolean() const { return boolean_; }
  double number() const { return number_; }
  // The exact value of a number that is written without fraction and exponent and fits.
  std::optional<int64_t> integer() const { return integer_; }
  const std::string& string() const { return string_; }
  const std::vector<Json>& array() const { return array_; }
  const std::vector<Member>& members() const { return members_; }  // ascending by key
  // The member of that key, or nullptr.
  const Json* find(std::string_view key) const;

 private:
  friend class JsonParser;

  Kind kind_ = Kind::null;
  bool boolean_ = false;
  double number_ = 0;
  std::optional<int64_t> integer_;
  std::string string_;
  std::vector<Json> array_;
  std::vector<Member> members_;
};

struct Json::Member {
  std::string key;
  Json value;
};

}  // namespace npr::model
