// Saving and resuming bit for bit, and states that don't fit.
#include "train/state_file.h"

#include "check.h"
#include "model/save_weights.h"
#include "train/trained.h"

using npr::ErrorCode;
using npr::train::load_state;
using npr::train::save_state;
using test::LoraOptions;
using test::LoraTarget;
using test::OptimizerOptions;
using test::TinyDirectory;
using test::Trained;

namespace {

const LoraOptions lora{.rank = 4, .alpha = 8, .targets = {LoraTarget::q, LoraTarget::down}, .seed = 3};

void save(const std::filesystem::path& path, Trained& trained) { save_state(path, *trained.store, trained.optimizer); }
void load(const std::filesystem::path& path, Trained& trained) { load_state(path, *trained.store, trained.optimizer); }

// The message of an error of that code.
std::string refused(const std::filesystem::path& path, Trained& trained, ErrorCode code) {
  try {
    load(path, trained);
  } catch (const npr::Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  throw check::Failed("no exception");
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What goes on must not tell whether it was interrupted, whichever model the engine was loaded with again: that which
// the training began with, or the one that it has become.
void check_resume(const std::optional<LoraOptions>& options) {
  const TinyDirectory directory;
  const auto state = directory.path() / "state.safetensors";
  const test::TemporaryDirectory checkpoint;
  Trained trained(directory.path(), options);
  trained.random_step(1);
  trained.random_step(2);
  save(state, trained);
  std::filesystem::copy(directory.path() / "config.json", checkpoint.path() / "config.json");
  npr::model::save_weights(trained.model, checkpoint.path());

  Trained from_first(directory.path(), options), from_last(checkpoint.path(), options);
  for (Trained* resumed : {&from_first, &from_last}) {
    resumed->random_gradients(8);  // which a state does not hold
    load(state, *resumed);
    CHECK(test::same_state(*resumed, trained));
    CHECK(test::engine_weights(resumed->model) == test::engine_weights(trained.model));
  }
  const double norm = trained.random_step(3).gradient_norm;
  for (Trained* resumed : {&from_first, &from_last}) {
    CHECK_EQ(resumed->random_step(3).gradient_norm, norm);
    CHECK(test::same_state(*resumed, trained));
    CHECK(test::engine_weights(resumed->model) == test::engine_weights(trained.model));
  }
}

}  // namespace

TEST(resumes_bit_for_bit) { check_resume({}); }
TEST(resumes_lora_bit_for_bit) { check_resume(lora); }

TEST(other_options_are_named) {
  const TinyDirectory directory;
  const auto state = directory.path() / "state.safetensors";
  Trained trained(directory.path());
  save(state, trained);
  const auto found = [&](const std::optional<LoraOptions>& lora, const OptimizerOptions& options) {
    Trained other(directory.path(), lora, options);
    return refused(state, other, ErrorCode::invalid_request);
  };
  CHECK(contains(found({}, {.adamw = {.beta1 = 0.8}}), "state.safetensors: beta1: expected 0.8, found 0.9"));
  CHECK(contains(found({}, {.adamw = {.beta2 = 0.999}}), "beta2: expected 0.999, found 0.95"));
  CHECK(contains(found({}, {.adamw = {.epsilon = 1e-6}}), "epsilon: expected 1e-06, found 1e-08"));
  CHECK(contains(found({}, {.adamw = {.weight_decay = 0}}), "weight_decay: expected 0, found 0.1"));
  CHECK(contains(found({}, {.adamw = {}, .clip_norm = 0}), "clip_norm: expected 0, found 1"));
  CHECK(contains(found(lora, {}), "trained: expected lora of rank 4, alpha 8: q down, found full"));

  Trained first(directory.path(), lora);
  save(state, first);
  LoraOptions other = lora;
  other.rank = 5;
  CHECK(contains(found(other, {}), "expected lora of rank 5, alpha 8: q down, found lora of rank 4, alpha 8: q down"));
}

TEST(other_shapes_are_named) {
  const TinyDirectory tied(true), untied(false);
  const auto state = tied.path() / "state.safetensors";
  Trained small(tied.path()), large(untied.path());
  save(state, small);
  CHECK(contains(refused(state, large, ErrorCode::invalid_request),
                 "lm_head.weight: expected F32 [101, 36], found none"));
  save(state, large);
  CHECK(contains(refused(state, small, ErrorCode::invalid_request), "lm_head.weight: expected no such tensor"));

  auto config = test::tiny_config();
  config.intermediate_size = 76;
  const test::TemporaryDirectory wide;
  npr::model::write_random_checkpoint(wide.path(), config, 1);
  Trained other(wide.path());
  save(state, small);
  CHECK(contains(refused(state, other, ErrorCode::invalid_request),
                 "mlp.gate_proj.weight: expected F32 [76, 36], found F32 [74, 36]"));
}

TEST(damaged_files_change_nothing) {
  const TinyDirectory directory;
  const auto state = directory.path() / "state.safetensors";
  Trained trained(directory.path()), same(directory.path());
  trained.random_step(1);
  same.random_step(1);
  save(state, trained);
  const std::string whole = test::read_file(state);
  test::write_file(state, whole.substr(0, whole.size() - 1));
  CHECK(contains(refused(state, trained, ErrorCode::invalid_checkpoint), "state.safetensors"));
  test::write_file(state, whole);
  test::edit_header(state, "\"steps\":\"1\"", "\"steps\":\"x\"");
  CHECK(contains(refused(state, trained, ErrorCode::invalid_request), "steps: expected a whole number, found \"x\""));
  for (const auto& [array, value] :
       std::vector<std::pair<std::string, float>>{{"master.model.norm.weight", std::nanf("")},
                                                  {"master.model.norm.weight", 3.4e38f},  // infinite as bf16
                                                  {"exp_avg.model.norm.weight", INFINITY},
                                                  {"exp_avg_sq.model.norm.weight", -1.0f}}) {
    std::string damaged = whole;
    {
      test::write_file(state, whole);
      const npr::model::SafetensorsFile file(state);
      size_t at = whole.size();
      for (const auto& tensor : file.tensors()) at -= tensor.bytes.size();  // where the first one begins
      for (const auto& tensor : file.tensors()) {
        if (tensor.name == array) std::memcpy(damaged.data() + at + sizeof value, &value, sizeof value);
        at += tensor.bytes.size();
      }
    }
    test::write_file(state, damaged);
    CHECK(contains(refused(state, trained, ErrorCode::invalid_checkpoint), array + ": number 1 is"));
  }
  std::filesystem::remove(state);
  CHECK(contains(refused(state, trained, ErrorCode::invalid_checkpoint), "expected a file, found none"));
  CHECK(contains(refused(directory.path() / "model.safetensors", trained, ErrorCode::invalid_request),
                 "beta1: expected 0.9, found none"));
  CHECK(test::same_state(trained, same));
  CHECK(test::engine_weights(trained.model) == test::engine_weights(same.model));
}
