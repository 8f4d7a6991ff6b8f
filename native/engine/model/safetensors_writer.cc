#include "model/safetensors_writer.h"

#include <bit>

#include "error.h"
#include "model/safetensors.h"

namespace npr::model {

static_assert(std::endian::native == std::endian::little, "safetensors are little endian and are mapped as they lie");

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors)
    : path_(path), file_(path, std::ios::binary | std::ios::trunc) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  for (const TensorSpec& tensor : tensors) {
    const uint64_t begin = expected_;
    expected_ += 2 * tensor.numbers();
    header += ",\"" + tensor.name + R"(":{"dtype":"BF16","shape":)" + shape_text(tensor.shape) +
              R"(,"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(expected_) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data are aligned
  const uint64_t length = header.size();
  file_.write(reinterpret_cast<const char*>(&length), sizeof length);
  file_.write(header.data(), static_cast<std::streamsize>(length));
  if (!file_) fail("can't be written");
}

void SafetensorsWriter::append(std::span<const uint16_t> numbers) {
  file_.write(reinterpret_cast<const char*>(numbers.data()), static_cast<std::streamsize>(numbers.size_bytes()));
  if (!file_) fail("can't be written");
  written_ += numbers.size_bytes();
}

void SafetensorsWriter::finish() {
  if (written_ != expected_)
    fail("expected " + std::to_string(expected_) + " bytes of tensors, was given " + std::to_string(written_));
  file_.close();
  if (!file_) fail("can't be written");
}

void SafetensorsWriter::fail(const std::string& what) const {
  throw Error(ErrorCode::invalid_request, path_.string() + ": " + what);
}

}  // namespace npr::model
