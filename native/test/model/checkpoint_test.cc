#include "model/checkpoint.h"

#include <unistd.h>

#include <functional>
#include <random>

#include "check.h"
#include "error.h"
#include "model/model_directory.h"
#include "model/tensors.h"

using npr::model::Checkpoint;
using std::filesystem::path;
using test::edit;
using test::edit_header;
using test::Safetensors;
using test::TemporaryDirectory;
using test::tiny_config;

namespace {

// A way to spoil a model directory, and what the error must name.
struct Fault {
  const char* name;
  std::function<void(const path&)> spoil;
  std::vector<std::string> named;
};

void check_faults(const std::vector<Fault>& faults, bool tied, uint64_t shard_bytes) {
  for (const Fault& fault : faults) {
    const TemporaryDirectory directory;
    npr::model::write_random_checkpoint(directory.path(), tiny_config(tied), 1, shard_bytes);
    const Checkpoint sound(directory.path());
    fault.spoil(directory.path());
    std::string message;
    try {
      const Checkpoint spoilt(directory.path());
      for (const auto& tensor : npr::model::model_tensors(spoilt.config()))
        spoilt.require_finite(spoilt.tensor(tensor.name));
    } catch (const npr::Error& error) {
      CHECK(error.code() == npr::ErrorCode::invalid_checkpoint);
      message = error.what();
    }
    for (const std::string& part : fault.named) {
      if (message.find(part) == std::string::npos)
        throw check::Failed(std::string(fault.name) + ": \"" + part + "\" is not in: " + message);
    }
  }
}

path weights(const path& directory) { return directory / "model.safetensors"; }
path index(const path& directory) { return directory / "model.safetensors.index.json"; }

void truncate_to(const path& file, size_t size) { test::write_file(file, test::read_file(file).substr(0, size)); }

// Edits the header of the single file.
auto header(const std::string& from, const std::string& to) {
  return [=](const path& d) { edit_header(weights(d), from, to); };
}

auto whole_header(const std::string& to) {
  return [=](const path& d) {
    Safetensors file = Safetensors::read(weights(d));
    file.header = to;
    file.write(weights(d));
  };
}

auto header_length(uint64_t length) {
  return [=](const path& d) {
    std::string bytes = test::read_file(weights(d));
    bytes.replace(0, 8, std::string(reinterpret_cast<const char*>(&length), 8));
    test::write_file(weights(d), bytes);
  };
}

// Overwrites one number of the first tensor, the embedding.
auto number(size_t at, const std::string& bytes) {
  return [=](const path& d) {
    Safetensors file = Safetensors::read(weights(d));
    file.data.replace(at * bytes.size(), bytes.size(), bytes);
    file.write(weights(d));
  };
}

auto extra(const std::string& name, const std::string& dtype, const std::string& shape, size_t bytes) {
  return [=](const path& d) {
    Safetensors file = Safetensors::read(weights(d));
    file.append(name, dtype, shape, std::string(bytes, '\0'));
    file.write(weights(d));
  };
}

const std::string in_file = "/model.safetensors: ";
const std::string in_index = "/model.safetensors.index.json: ";
// The embedding is the first tensor: 101 x 36 numbers.
const std::string embedding = "model.embed_tokens.weight";
const std::string norm = "model.norm.weight";

}  // namespace

TEST(faults_of_the_directory) {
  check_faults(
      {
          {"no directory", [](const path& d) { remove_all(d); }, {"expected a model directory"}},
          {"a file", [](const path& d) { remove_all(d), test::write_file(d, "x"); }, {"expected a model directory"}},
          {"no config",
           [](const path& d) { remove(d / "config.json"); },
           {"/config.json: expected a file, found none"}},
          {"config is a directory",
           [](const path& d) { remove(d / "config.json"), create_directory(d / "config.json"); },
           {"/config.json: expected a file, found a directory"}},
          {"config is not JSON",
           [](const path& d) { truncate_to(d / "config.json", 50); },
           {"/config.json: line 1, byte 50: expected", "found the end of the text"}},
          {"config is empty",
           [](const path& d) { truncate_to(d / "config.json", 0); },
           {"/config.json: line 1, byte 0: expected a value"}},
          {"config is a list",
           [](const path& d) { test::write_file(d / "config.json", "[]"); },
           {"/config.json: expected an object, found []"}},
          {"generation config is not JSON",
           [](const path& d) { test::write_file(d / "generation_config.json", "{"); },
           {"/generation_config.json: line 1"}},
          {"no weights",
           [](const path& d) { remove(weights(d)); },
           {"expected model.safetensors or model.safetensors.index.json, found neither"}},
          {"weights are a directory",
           [](const path& d) { remove(weights(d)), create_directory(weights(d)); },
           {in_file + "expected a file, found a directory"}},
      },
      true, npr::model::usual_shard_bytes);
}

TEST(unreadable_files) {
  if (geteuid() == 0) return;  // root may read everything
  const auto forbid = [](const path& file) { permissions(file, std::filesystem::perms::none); };
  check_faults(
      {{"weights", [&](const path& d) { forbid(weights(d)); }, {in_file + "expected a readable file"}},
       {"config", [&](const path& d) { forbid(d / "config.json"); }, {"config.json: expected a readable file"}}},
      true, npr::model::usual_shard_bytes);
}

TEST(faults_of_the_header) {
  check_faults(
      {
          {"empty file",
           [](const path& d) { truncate_to(weights(d), 0); },
           {in_file + "expected 8 bytes of header length, found a file of 0 bytes"}},
          {"five bytes", [](const path& d) { truncate_to(weights(d), 5); }, {in_file, "found a file of 5 bytes"}},
          {"header cut",
           [](const path& d) { truncate_to(weights(d), 100); },
           {in_file + "header length: expected 2 to 92"}},
          {"length 0", header_length(0), {in_file + "header length", "found 0"}},
          {"length 2^63", header_length(uint64_t{1} << 63), {in_file + "header length", "found 9223372036854775808"}},
          {"length too small", header_length(20), {in_file + "header: line 1, byte 20: expected"}},
          {"length too large", header_length(5000), {in_file + "header: line 1"}},
          {"not JSON", whole_header("{'a': 1}"), {in_file + "header: line 1, byte 1: expected a key"}},
          {"not UTF-8", header("lay", "\xff\xfe"), {in_file + "header: ", "expected valid UTF-8, found byte 0xff"}},
          {"a list", whole_header("[1]"), {in_file + "header: expected an object, found [1]"}},
          {"tensor twice",
           header("model.layers.0.mlp.up_proj", "model.layers.0.mlp.gate_proj"),
           {in_file + "header: ", "\"model.layers.0.mlp.gate_proj.weight\" again"}},
          {"metadata no object",
           header(R"({"format":"pt"})", "3"),
           {in_file + "__metadata__: expected an object, found 3"}},
      },
      true, npr::model::usual_shard_bytes);
}

TEST(faults_of_an_entry) {
  const std::string at = in_file + embedding + ": ";
  check_faults(
      {
          {"no object",
           header(R"({"dtype":"BF16","shape":[101, 36],"data_offsets":[0,7272]})", "7"),
           {at + "expected an object, found 7"}},
          {"no dtype", header(R"("dtype":"BF16",)", ""), {at + "dtype: expected a string, found no such key"}},
          {"unknown dtype", header("BF16", "BF17"), {at + "dtype", "\"BF17\""}},
          {"no shape", header(R"("shape":[101, 36],)", ""), {at + "shape: expected an array", "no such key"}},
          {"negative shape", header("[101, 36]", "[-101,36]"), {at + "shape", "[-101, 36]"}},
          {"fractional shape", header("[101, 36]", "[101.5,36]"), {at + "shape", "101.5"}},
          {"shape overflows", header("[101, 36]", "[4294967296,4294967296]"), {at + "shape", "2^64"}},
          {"no offsets", header(R"(,"data_offsets":[0,7272])", ""), {at + "data_offsets", "no such key"}},
          {"one offset", header("[0,7272]", "[7272]"), {at + "data_offsets: expected [begin, end], found [7272]"}},
          {"negative offset", header("[0,7272]", "[-2,7270]"), {at + "data_offsets", "[-2, 7270]"}},
          {"offsets reversed", header("[0,7272]", "[7272,0]"), {at + "data_offsets", "begin <= end", "[7272, 0]"}},
          {"offset past the end",
           header("[0,7272]", "[0,99999999]"),
           {at + "data_offsets", "the bytes after the header"}},
          {"size is not shape times dtype",
           header("[101, 36]", "[101,35]"),
           {at + "data_offsets: expected 7070 bytes for BF16 [101, 35], found 7272"}},
          {"shape for another dtype", header("BF16", "F32"), {at, "14544 bytes for F32 [101, 36]", "found 7272"}},
          {"overlap",
           header(R"([36],"data_offsets":[7272,7344])", R"([36],"data_offsets":[7200,7272])"),
           {in_file, "data_offsets: expected to begin at", "an overlap"}},
          {"data cut",
           [](const path& d) { truncate_to(weights(d), file_size(weights(d)) - 2); },
           {in_file + norm + ": data_offsets: expected begin <= end <="}},
          {"data too long",
           [](const path& d) { test::write_file(weights(d), test::read_file(weights(d)) + "tail"); },
           {in_file + "expected ", "bytes after the header, the tensors' sum, found "}},
          {"gap",
           [](const path& d) {
             Safetensors file = Safetensors::read(weights(d));
             file.data += "1234";
             const size_t size = file.data.size();
             file.append("gap", "U8", "[1]", "x");
             file.data.erase(size - 4, 4);
             test::replace(file.header, std::to_string(size) + "," + std::to_string(size + 1),
                           std::to_string(size - 2) + "," + std::to_string(size - 1));
             file.data += "yz";
             file.write(weights(d));
           },
           {in_file + "gap: data_offsets: expected to begin at", "a gap"}},
      },
      true, npr::model::usual_shard_bytes);
}

TEST(faults_of_the_tensors) {
  check_faults(
      {
          {"missing",
           header("layers.1.mlp.down_proj", "layers.1.mlp.wown_proj"),
           {in_file + "model.layers.1.mlp.down_proj.weight: expected a tensor of shape [36, 74], found none"}},
          {"transposed",
           header("[101, 36]", "[36,101]"),
           {in_file + embedding + ": expected shape [101, 36] (config.json), found [36, 101]"}},
          {"another rank",
           header("[101, 36]", "[3636]"),
           {in_file + embedding, "expected shape [101, 36]", "found [3636]"}},
          {"integers", header("BF16", "I16"), {in_file + embedding + ": expected dtype BF16, F16 or F32, found I16"}},
          {"config says another width",
           [](const path& d) { edit(d / "config.json", "\"hidden_size\": 36", "\"hidden_size\": 40"); },
           {in_file + embedding + ": expected shape [101, 40] (config.json), found [101, 36]"}},
          {"config says more layers",
           [](const path& d) { edit(d / "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"); },
           {in_file + "model.layers.2.input_layernorm.weight: expected a tensor of shape [36], found none"}},
          {"config says fewer layers",
           [](const path& d) { edit(d / "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"); },
           {in_file + "model.layers.1.", "expected only tensors of Qwen3ForCausalLM with 1 layers, found this one"}},
          {"bias",
           extra("model.layers.0.self_attn.q_proj.bias", "BF16", "[96]", 192),
           {in_file + "model.layers.0.self_attn.q_proj.bias: expected only tensors of Qwen3ForCausalLM"}},
          {"quantization scales",
           extra("model.layers.0.mlp.up_proj.weight_scale", "F32", "[1]", 4),
           {in_file + "model.layers.0.mlp.up_proj.weight_scale: expected only tensors"}},
          {"untied head missing",
           [](const path& d) {
             edit(d / "config.json", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
           },
           {in_file + "lm_head.weight: expected a tensor of shape [101, 36], found none"}},
          {"tied head differs",
           extra("lm_head.weight", "BF16", "[101,36]", 7272),
           {in_file + "lm_head.weight: expected a copy of model.embed_tokens.weight", "tie_word_embeddings is true"}},
          {"tied head of another shape",
           extra("lm_head.weight", "BF16", "[100,36]", 7200),
           {in_file + "lm_head.weight: expected shape [101, 36]", "found [100, 36]"}},
          {"NaN", number(77, "\xc0\x7f"), {in_file + embedding + ": expected finite weights, found NaN or infinity"}},
          {"infinity", number(3635, "\x80\xff"), {in_file + embedding + ": expected finite weights"}},
      },
      true, npr::model::usual_shard_bytes);
}

TEST(faults_of_shards) {
  // One tensor a file: the embedding is the first, the final norm the last but one.
  const std::string first = "model-00001-of-00025.safetensors", second = "model-00002-of-00025.safetensors";
  const auto rename_shard = [=](const std::string& to) {
    return [=](const path& d) { edit(index(d), "\"" + first + "\"", to); };
  };
  check_faults(
      {
          {"missing shard",
           [=](const path& d) { remove(d / second); },
           {"/" + second + ": expected a file, found none"}},
          {"shard is a directory",
           [=](const path& d) { remove(d / second), create_directory(d / second); },
           {"/" + second + ": expected a file, found a directory"}},
          {"shard cut",
           [=](const path& d) { truncate_to(d / first, 3000); },
           {"/" + first + ": " + embedding + ": data_offsets: expected begin <= end <="}},
          {"index is not JSON", [](const path& d) { truncate_to(index(d), 40); }, {in_index + "line "}},
          {"index is a list",
           [](const path& d) { test::write_file(index(d), "[]"); },
           {in_index + "weight_map: expected an object", "no such key"}},
          {"no weight_map",
           [](const path& d) { edit(index(d), "weight_map", "weight_mop"); },
           {in_index + "weight_map", "no such key"}},
          {"empty weight_map",
           [](const path& d) { test::write_file(index(d), R"({"weight_map": {}})"); },
           {in_index + "weight_map: expected an object of tensor and file names"}},
          {"file name is a number", rename_shard("17"), {in_index + "weight_map: " + embedding, "found 17"}},
          {"path out of the directory",
           rename_shard("\"../" + first + "\""),
           {in_index + "weight_map: " + embedding + ": expected the name of a .safetensors file", "\"../"}},
          {"absolute path", rename_shard("\"/etc/" + first + "\""), {in_index + "weight_map: " + embedding, "\"/etc/"}},
          {"another file", rename_shard("\"config.json\""), {in_index, "found \"config.json\""}},
          {"tensor in the index, not in the shard",
           [=](const path& d) { edit_header(d / first, embedding, "model.other"); },
           {"/" + first + ": model.other: expected only tensors that model.safetensors.index.json assigns"}},
          {"tensor of the index in no shard",
           [](const path& d) { edit(index(d), "{\n", "{\n\"extra\": \"model-00001-of-00025.safetensors\",\n"); },
           {"/" + first + ": extra: expected this tensor, since model.safetensors.index.json assigns it"}},
          {"tensor in the shard, not in the index",
           [=](const path& d) {
             Safetensors file = Safetensors::read(d / second);
             file.append("stray", "F32", "[1]", std::string(4, '\0'));
             file.write(d / second);
           },
           {"/" + second + ": stray: expected only tensors that model.safetensors.index.json assigns"}},
          {"tensor in two shards",
           [=](const path& d) {
             Safetensors file = Safetensors::read(d / second);
             file.append(embedding, "BF16", "[101,36]", std::string(7272, '\0'));
             file.write(d / second);
           },
           {"/" + second + ": " + embedding + ": expected each tensor once, found it in " + first + " as well"}},
          {"tensor in no file",
           [=](const path& d) { edit(index(d), "\"" + embedding + "\": \"" + first + "\",\n", ""); },
           {in_index + embedding + ": expected a tensor of shape [101, 36], found none"}},
      },
      false, 1);
}

// A directory with a few random bytes overwritten loads, or is refused; under the sanitizers, nothing else.
TEST(random_damage_is_an_error_or_harmless) {
  const TemporaryDirectory directory;
  npr::model::write_random_checkpoint(directory.path(), tiny_config(), 1, 1);
  std::mt19937 random(11);
  size_t refused = 0;
  for (const char* name : {"config.json", "model.safetensors.index.json", "model-00001-of-00024.safetensors"}) {
    const path file = directory.path() / name;
    const std::string sound = test::read_file(file);
    for (int round = 0; round < 300; ++round) {
      std::string damaged = sound;
      // Within the first bytes, so that the header is hit and not the weights alone.
      for (size_t i = 0; i <= random() % 3; ++i)
        damaged[random() % std::min<size_t>(sound.size(), 600)] = random() & 0xff;
      if (random() % 4 == 0) damaged.resize(random() % damaged.size());
      test::write_file(file, damaged);
      try {
        const Checkpoint checkpoint(directory.path());
        for (const auto& spec : npr::model::model_tensors(checkpoint.config()))
          checkpoint.require_finite(checkpoint.tensor(spec.name));
      } catch (const npr::Error& error) {
        CHECK(error.code() == npr::ErrorCode::invalid_checkpoint);
        ++refused;
      }
    }
    test::write_file(file, sound);
  }
  CHECK(refused > 450);
}

TEST(harmless_tensors_are_ignored) {
  const TemporaryDirectory directory;
  npr::model::write_random_checkpoint(directory.path(), tiny_config(), 1);
  Safetensors file = Safetensors::read(weights(directory.path()));
  const std::string copy = file.data.substr(0, 7272);
  file.append("lm_head.weight", "BF16", "[101,36]", copy);
  file.append("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", "[8]", std::string(32, '\0'));
  file.append("model.rotary_emb.inv_freq", "I64", "[0]", "");
  file.write(weights(directory.path()));
  const Checkpoint checkpoint(directory.path());
  CHECK_EQ(checkpoint.bytes(), 2 * npr::model::parameter_count(tiny_config()));
}

TEST(shards_hold_the_same_tensors) {
  const TemporaryDirectory one, many;
  npr::model::write_random_checkpoint(one.path(), tiny_config(false), 5);
  npr::model::write_random_checkpoint(many.path(), tiny_config(false), 5, 9000);
  const Checkpoint a(one.path()), b(many.path());
  CHECK(!exists(weights(many.path())));
  CHECK_EQ(a.bytes(), b.bytes());
  for (const auto& spec : npr::model::model_tensors(a.config())) {
    const auto &x = a.tensor(spec.name), &y = b.tensor(spec.name);
    CHECK(x.shape == spec.shape && y.shape == spec.shape);
    CHECK(std::equal(x.bytes.begin(), x.bytes.end(), y.bytes.begin(), y.bytes.end()));
  }
}

TEST(released_bytes_can_be_read_again) {
  const Checkpoint checkpoint(std::string(NPR_FIXTURES) + "/npr-lab");
  const auto& tensor = checkpoint.tensor(embedding);
  const std::vector<std::byte> before(tensor.bytes.begin(), tensor.bytes.end());
  checkpoint.release(tensor);
  CHECK(std::equal(before.begin(), before.end(), tensor.bytes.begin()));
}

TEST(reads_every_fixture) {
  for (const char* name : {"random-tied", "random-mqa", "random-untied-sharded"}) {
    const Checkpoint checkpoint(std::string(NPR_FIXTURES) + "/" + name);
    for (const auto& spec : npr::model::model_tensors(checkpoint.config()))
      checkpoint.require_finite(checkpoint.tensor(spec.name));
    CHECK_EQ(checkpoint.bytes(), 2 * npr::model::parameter_count(checkpoint.config()));
  }
}
