#include "model/safetensors.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "error.h"
#include "model/json.h"

namespace npr::model {
namespace {

// The reference implementation's bound.
constexpr uint64_t max_header_bytes = 100'000'000;

const std::map<std::string_view, uint64_t> element_bytes = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
    {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}};

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorCode::invalid_checkpoint, path.string() + ": " + what);
}

// The JSON header's text.
std::string_view header_text(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < 8)
    fail(file.path(), "expected 8 bytes of header length, found a file of " + std::to_string(bytes.size()) + " bytes");
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | std::to_integer<uint64_t>(bytes[static_cast<size_t>(i)]);
  const uint64_t most = std::min<uint64_t>(bytes.size() - 8, max_header_bytes);
  if (length < 2 || length > most)
    fail(file.path(), "header length: expected 2 to " + std::to_string(most) + " bytes in a file of " +
                          std::to_string(bytes.size()) + ", found " + std::to_string(length));
  return {reinterpret_cast<const char*>(bytes.data()) + 8, length};
}

class HeaderReader {
 public:
  explicit HeaderReader(const MappedFile& file)
      : file_(file), text_(header_text(file)), data_(file.bytes().subspan(8 + text_.size())) {}

  // Fills `metadata`, too.
  std::vector<Tensor> read(std::map<std::string, std::string>& metadata) const {
    const Json header = Json::parse(text_, file_.path().string() + ": header");
    if (!header.is(Json::Kind::object)) fail(file_.path(), "header: expected an object, found " + header.describe());
    std::vector<Tensor> tensors;
    for (const auto& [name, entry] : header.members()) {
      if (name == "__metadata__") {
        if (!entry.is(Json::Kind::object)) fail_at(name, "an object", entry.describe());
        for (const auto& [key, value] : entry.members()) metadata[key] = value.string();
      } else {
        tensors.push_back(tensor(name, entry));
      }
    }
    require_cover(tensors);
    return tensors;
  }

 private:
  [[noreturn]] void fail_at(const std::string& name, const std::string& expected, const std::string& found) const {
    fail(file_.path(), name + ": expected " + expected + ", found " + found);
  }

  const Json& member(const std::string& name, const Json& entry, const char* key, Json::Kind kind,
                     const char* expected) const {
    const Json* value = entry.find(key);
    if (!value || !value->is(kind)) fail_at(name + ": " + key, expected, value ? value->describe() : "no such key");
    return *value;
  }

  Tensor tensor(const std::string& name, const Json& entry) const {
    if (!entry.is(Json::Kind::object)) fail_at(name, "an object", entry.describe());
    Tensor out;
    out.name = name;
    out.dtype = member(name, entry, "dtype", Json::Kind::string, "a string").string();
    const auto size = element_bytes.find(out.dtype);
    if (size == element_bytes.end()) fail_at(name + ": dtype", "a dtype of safetensors", "\"" + out.dtype + "\"");

    const Json& shape = member(name, entry, "shape", Json::Kind::array, "an array of sizes");
    uint64_t expected = size->second;
    for (const Json& dimension : shape.array()) {
      const auto n = dimension.integer();
      if (!n || *n < 0) fail_at(name + ": shape", "an array of sizes", shape.describe());
      out.shape.push_back(static_cast<uint64_t>(*n));
      if (__builtin_mul_overflow(expected, out.shape.back(), &expected))
        fail_at(name + ": shape", "a tensor of less than 2^64 bytes", shape.describe());
    }

    const Json& offsets = member(name, entry, "data_offsets", Json::Kind::array, "[begin, end]");
    const auto at = [&](size_t i) {
      const auto n = offsets.array()[i].integer();
      if (!n || *n < 0) fail_at(name + ": data_offsets", "[begin, end]", offsets.describe());
      return static_cast<uint64_t>(*n);
    };
    if (offsets.array().size() != 2) fail_at(name + ": data_offsets", "[begin, end]", offsets.describe());
    const uint64_t begin = at(0), end = at(1);
    if (begin > end || end > data_.size())
      fail_at(name + ": data_offsets",
              "begin <= end <= " + std::to_string(data_.size()) + ", the bytes after the header", offsets.describe());
    if (end - begin != expected)
      fail_at(name + ": data_offsets",
              std::to_string(expected) + " bytes for " + out.dtype + " " + shape_text(out.shape),
              std::to_string(end - begin) + " in " + offsets.describe());
    out.bytes = data_.subspan(begin, end - begin);
    return out;
  }

  // Sorts by offset; every byte of the data must belong to exactly one tensor.
  void require_cover(std::vector<Tensor>& tensors) const {
    const auto offset = [&](const Tensor& tensor) { return static_cast<uint64_t>(tensor.bytes.data() - data_.data()); };
    std::stable_sort(tensors.begin(), tensors.end(), [&](const Tensor& a, const Tensor& b) {
      return std::pair(offset(a), a.bytes.size()) < std::pair(offset(b), b.bytes.size());
    });
    uint64_t next = 0;
    for (const Tensor& tensor : tensors) {
      if (offset(tensor) != next)
        fail_at(tensor.name + ": data_offsets",
                "to begin at " + std::to_string(next) + ", where the tensor before it ends",
                std::to_string(offset(tensor)) + (offset(tensor) < next ? ", an overlap" : ", a gap"));
      next += tensor.bytes.size();
    }
    if (next != data_.size())
      fail(file_.path(), "expected " + std::to_string(next) + " bytes after the header, the tensors' sum, found " +
                             std::to_string(data_.size()));
  }

  const MappedFile& file_;
  std::string_view text_;
  std::span<const std::byte> data_;
};

}  // namespace

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), tensors_(HeaderReader(file_).read(metadata_)) {}

}  // namespace npr::model
