#include "model/safetensors_writer.h"

#include <bit>

#include "error.h"
#include "model/safetensors.h"

namespace npr::model {

static_assert(std::endian::native == std::endian::little, "safetensors are little endian and are mapped as they lie");

uint64_t StoredTensor::bytes() const {
  uint64_t product = type == Type::bf16 ? 2 : 4;
  for (const uint64_t size : shape) product *= size;
  return product;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  std::string header;
  for (const auto& [key, value] : metadata) header += (header.empty() ? "\"" : ",\"") + key + "\":\"" + value + "\"";
  header = "{\"__metadata__\":{" + header + "}";
  for (const StoredTensor& tensor : tensors) {
    const uint64_t begin = missing_;
    missing_ += tensor.bytes();
    header += ",\"" + tensor.name + R"(":{"dtype":")" + (tensor.type == StoredTensor::Type::bf16 ? "BF16" : "F32") +
              R"(","shape":)" + shape_text(tensor.shape) + R"(,"data_offsets":[)" + std::to_string(begin) + "," +
              std::to_string(missing_) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data are aligned
  const uint64_t length = header.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(std::as_bytes(std::span(header)));
}

void SafetensorsWriter::append(std::span<const std::byte> numbers) {
  ensure(numbers.size() <= missing_, "no more numbers than the header says");
  file_.write(numbers);
  missing_ -= numbers.size();
}

void SafetensorsWriter::finish() {
  ensure(missing_ == 0, "as many numbers as the header says");
  file_.sync();
}

}  // namespace npr::model
