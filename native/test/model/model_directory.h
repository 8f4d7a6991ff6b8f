// Model directories that tests make, and take apart.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "model/random_checkpoint.h"

namespace test {

// A directory that is gone afterwards.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "npr-test-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary directory");
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Sizes that are no multiple of any vector's or tile's width.
inline npr::model::Config tiny_config(bool tied = true) {
  npr::model::Config config = npr::model::qwen3_tiny();
  config.hidden_size = 36;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 6;
  config.head_dim = 16;
  config.intermediate_size = 74;
  config.vocab_size = 101;
  config.max_position_embeddings = 512;
  config.tie_word_embeddings = tied;
  config.rope_settings.theta = 1e4;
  config.end_tokens = {100};
  return config;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline void replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("nothing to replace: " + from);
  text.replace(at, from.size(), to);
}

inline void edit(const std::filesystem::path& path, const std::string& from, const std::string& to) {
  std::string text = read_file(path);
  replace(text, from, to);
  write_file(path, text);
}

// A safetensors file in its two parts.
struct Safetensors {
  std::string header, data;

  static Safetensors read(const std::filesystem::path& path) {
    const std::string bytes = read_file(path);
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    return {bytes.substr(8, length), bytes.substr(8 + length)};
  }
  void write(const std::filesystem::path& path) const {
    const uint64_t length = header.size();
    write_file(path, std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data);
  }
  // Adds a tensor at the end of the data.
  void append(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& bytes) {
    header.erase(header.find_last_of('}'));
    header += ",\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[)" +
              std::to_string(data.size()) + "," + std::to_string(data.size() + bytes.size()) + "]}}";
    data += bytes;
  }
};

inline void edit_header(const std::filesystem::path& path, const std::string& from, const std::string& to) {
  Safetensors file = Safetensors::read(path);
  replace(file.header, from, to);
  file.write(path);
}

}  // namespace test
