// A model written and loaded again is the same model; a write that fails leaves what was there.
#include "model/save_weights.h"

#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <set>

#include "check.h"
#include "error.h"
#include "model/file.h"
#include "model/json.h"
#include "train/trained.h"

using npr::model::save_weights;
using std::filesystem::path;
using test::TemporaryDirectory;
using test::TinyDirectory;
using test::Trained;

namespace {

std::set<std::string> names(const path& directory) {
  std::set<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) out.insert(entry.path().filename());
  return out;
}

void add_config(const TinyDirectory& from, const path& to) {
  std::filesystem::copy(from.path() / "config.json", to / "config.json");
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0)
      return false;
  }
  return true;
}

// No file may grow beyond `bytes`: to a program, a disk that is full.
class LittleSpace {
 public:
  explicit LittleSpace(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~LittleSpace() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

std::string refused(Trained& trained, const path& directory, uint64_t shard_bytes) {
  try {
    save_weights(trained.model, directory, shard_bytes);
  } catch (const npr::Error& error) {
    CHECK(error.code() == npr::ErrorCode::invalid_request);
    return error.what();
  }
  throw check::Failed("no exception");
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(a_saved_model_is_the_same_model) {
  for (const bool tied : {true, false}) {
    for (const uint64_t shard_bytes : {npr::model::usual_shard_bytes, uint64_t{9000}}) {
      const TinyDirectory directory(tied);
      const TemporaryDirectory saved;
      Trained trained(directory.path());
      trained.random_step(1);
      add_config(directory, saved.path());
      save_weights(trained.model, saved.path(), shard_bytes);
      auto loaded = test::load_model(saved.path());
      CHECK(same_bits(test::engine_weights(loaded), test::engine_weights(trained.model)));
    }
  }
}

TEST(a_model_is_saved_as_it_was_loaded) {
  const TinyDirectory directory(false);
  const TemporaryDirectory saved;
  auto model = test::load_model(directory.path());
  save_weights(model, saved.path());
  CHECK(test::read_file(saved.path() / "model.safetensors") == test::read_file(directory.path() / "model.safetensors"));
}

TEST(shards_are_of_the_size_asked_for) {
  const TinyDirectory directory;
  const TemporaryDirectory saved;
  auto model = test::load_model(directory.path());
  save_weights(model, saved.path(), 9000);
  uint64_t total = 0;
  std::set<std::string> in_index;
  const auto index = saved.path() / "model.safetensors.index.json";
  const auto json = npr::model::Json::parse(npr::model::read_text(index, 1 << 20), index);
  for (const auto& [tensor, file] : json.find("weight_map")->members()) in_index.insert(file.string());
  for (const std::string& name : in_index) {
    uint64_t bytes = 0;
    const npr::model::SafetensorsFile file(saved.path() / name);
    for (const auto& tensor : file.tensors()) bytes += tensor.bytes.size();
    CHECK(bytes <= 9000 || file.tensors().size() == 1);
    total += bytes;
  }
  CHECK(in_index.size() > 3);
  CHECK_EQ(json.find("metadata")->find("total_size")->number(), static_cast<double>(total));
  auto files = names(saved.path());
  files.erase("model.safetensors.index.json");
  CHECK(files == in_index);
}

TEST(shards_take_the_place_of_one_file) {
  const TinyDirectory directory;
  const TemporaryDirectory saved;
  Trained trained(directory.path());
  add_config(directory, saved.path());
  for (const uint64_t shard_bytes : {npr::model::usual_shard_bytes, uint64_t{9000}, npr::model::usual_shard_bytes}) {
    trained.random_step(shard_bytes);
    save_weights(trained.model, saved.path(), shard_bytes);
    auto loaded = test::load_model(saved.path());
    CHECK(same_bits(test::engine_weights(loaded), test::engine_weights(trained.model)));
  }
}

TEST(a_write_that_fails_leaves_what_was_there) {
  const TinyDirectory directory;
  const TemporaryDirectory saved;
  Trained trained(directory.path());
  for (const uint64_t shard_bytes : {npr::model::usual_shard_bytes, uint64_t{9000}}) {
    const auto before = names(saved.path());
    const auto weights = test::read_file(saved.path() / "model.safetensors");
    trained.random_step(1);
    {
      const LittleSpace space(7000);  // too little for the embedding, which takes 7272 bytes
      CHECK(contains(refused(trained, saved.path(), shard_bytes), "can't be written: "));
    }
    CHECK(names(saved.path()) == before);
    CHECK(test::read_file(saved.path() / "model.safetensors") == weights);
    save_weights(trained.model, saved.path());
    CHECK(test::read_file(saved.path() / "model.safetensors") != weights);
  }
}

TEST(folders_that_can_not_be_written_to) {
  const TinyDirectory directory;
  Trained trained(directory.path());
  CHECK(contains(refused(trained, directory.path() / "none", 9000), "can't be created: No such file or directory"));
  CHECK(contains(refused(trained, directory.path() / "config.json", 9000), "can't be created: Not a directory"));
  const TemporaryDirectory taken;
  std::filesystem::create_directories(taken.path() / "model.safetensors" / "full");
  CHECK(contains(refused(trained, taken.path(), npr::model::usual_shard_bytes), "can't be put in place: "));
  CHECK(names(taken.path()) == std::set<std::string>{"model.safetensors"});
}
