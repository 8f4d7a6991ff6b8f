// Checked reading of the members of a JSON object: every fault names the file, the key, what was expected and found.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "model/json.h"

namespace npr::model {

// Views an object and the name it goes by in errors; a null member counts as absent.
// Thread safety: immutable.
class Fields {
 public:
  // `where` is the file, or the file and the key of the object in it. Throws where `object` is no object.
  Fields(const Json& object, std::string where);

  const Json* find(std::string_view key) const;
  // Whole number within [least, most].
  uint32_t count(std::string_view key, uint32_t least, uint32_t most) const;
  uint32_t count(std::string_view key, uint32_t least, uint32_t most, uint32_t otherwise) const;
  // Number within [least, most].
  double number(std::string_view key, double least, double most) const;
  double number(std::string_view key, double least, double most, double otherwise) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key) const;
  std::string text(std::string_view key, const std::string& otherwise) const;
  // The object of that key; an empty one where it is absent.
  Fields section(std::string_view key) const;

  // Throws Error(invalid_checkpoint): "WHERE: KEY: expected EXPECTED, found VALUE".
  [[noreturn]] void fail(std::string_view key, const std::string& expected) const;

 private:
  const Json& object_;
  std::string where_;
};

}  // namespace npr::model
