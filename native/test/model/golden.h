// Golden sequences: tokens of the lab models' vocabulary, and what Hugging Face transformers computes for them in
// float from the stored bf16 weights.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "model/file.h"
#include "model/json.h"
#include "model/safetensors.h"
#include "text/vocabulary.h"

namespace test {

struct Golden {
  std::string name;
  std::vector<int32_t> tokens, positions;  // [n]
  std::vector<float> token_logprobs;       // [n - 1] of token i + 1 after token i
  std::vector<float> last_logprobs;        // [vocab] after the last token
  std::vector<uint8_t> mask;               // [n, n] 1 where a row sees a column; empty for long cases
  double error_mean, error_max;            // of transformers' own bf16 run
};

template <class T>
std::vector<T> golden_values(const npr::model::SafetensorsFile& file, const std::string& name) {
  for (const auto& tensor : file.tensors()) {
    if (tensor.name != name) continue;
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }
  return {};
}

// Every case of test/fixtures/`model`.
inline std::vector<Golden> load_goldens(const std::string& model) {
  const std::string directory = std::string(NPR_FIXTURES) + "/" + model;
  const npr::model::SafetensorsFile file(directory + "/forward.safetensors");
  const std::string info = directory + "/info.json";
  const auto json = npr::model::Json::parse(npr::model::read_text(info, 1 << 20), info);
  std::vector<Golden> goldens;
  for (const auto& entry : json.find("forward")->array()) {
    Golden golden;
    golden.name = entry.find("name")->string();
    golden.tokens = golden_values<int32_t>(file, golden.name + ".tokens");
    golden.positions = golden_values<int32_t>(file, golden.name + ".positions");
    golden.token_logprobs = golden_values<float>(file, golden.name + ".token_logprobs");
    golden.last_logprobs = golden_values<float>(file, golden.name + ".last_logprobs");
    golden.mask = golden_values<uint8_t>(file, golden.name + ".mask");
    golden.error_mean = entry.find("bf16_err_mean")->number();
    golden.error_max = entry.find("bf16_err_max")->number();
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

// What the layout needs to know of the goldens' vocabulary.
inline npr::text::Vocabulary golden_vocabulary() {
  npr::text::Vocabulary vocabulary;
  vocabulary.tags = npr::text::Tags{369, 370, 371, 372, 373, 374, 375, 376};
  vocabulary.turn_head = {368, 336, 198};  // <|im_start|> assistant newline
  vocabulary.turn_end = 366;
  return vocabulary;
}

}  // namespace test
