// What changes no bit of a token's logits, and what a model refuses.
#include "model/model.h"

#include <random>

#include "check.h"
#include "model/golden.h"
#include "model/model_directory.h"
#include "model/runs.h"
#include "model/tensors.h"

using npr::Error;
using npr::ErrorCode;
using npr::model::Checkpoint;
using npr::model::Model;
using std::filesystem::path;
using test::Chunk;
using test::Flat;
using test::Isa;
using test::make_model;
using test::Safetensors;
using test::TemporaryDirectory;
using test::tiny_config;

namespace {

const std::string nested_model = std::string(NPR_FIXTURES) + "/random-untied-sharded";

// Blocks within blocks, long enough for several chunks of attention: 462 tokens.
Flat nested_case(const std::vector<npr::compute::Slot>& slots = test::slots_from(0, 1024)) {
  for (const auto& golden : test::load_goldens("random-untied-sharded")) {
    if (golden.name == "nested_first_long")
      return {golden.tokens, npr::branch::parallel_layout(golden.tokens, test::golden_vocabulary()), slots};
  }
  throw check::Failed("no such golden");
}

// Tokens without structure.
Flat plain_case(uint32_t vocab, uint32_t count, npr::compute::Slot first, uint32_t seed) {
  std::mt19937 random(seed);
  Flat flat;
  for (uint32_t i = 0; i < count; ++i) flat.tokens.push_back(static_cast<int32_t>(random() % vocab));
  flat.layout = npr::branch::plain_layout(count);
  flat.slots = test::slots_from(first, count);
  return flat;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::vector<Isa> isas() { return test::machine_isas(); }

// Logits of one plain sequence by the model of a directory.
std::vector<float> answer(const path& directory) {
  auto model = make_model(directory, Isa::best, 1, 64, 64);
  return test::whole(model, plain_case(tiny_config().vocab_size, 20, 0, 1));
}

// Rewrites the only safetensors file of a directory: each tensor's bf16 numbers by `convert`, which returns their
// bytes.
template <class Convert>
void rewrite(const path& directory, const std::string& dtype, Convert convert) {
  const path file = directory / "model.safetensors";
  const Checkpoint checkpoint(directory);
  Safetensors out{"{\"__metadata__\":{}}", ""};
  for (const auto& spec : npr::model::model_tensors(checkpoint.config())) {
    const auto& tensor = checkpoint.tensor(spec.name);
    std::string bytes;
    for (size_t i = 0; i < tensor.bytes.size(); i += 2) {
      uint16_t bits;
      std::memcpy(&bits, tensor.bytes.data() + i, sizeof bits);
      const auto number = convert(bits);
      bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    out.append(tensor.name, dtype, npr::model::shape_text(tensor.shape), bytes);
  }
  remove(file);  // the mapping keeps the old file alive
  out.write(file);
}

float to_float(uint16_t bf16) { return std::bit_cast<float>(uint32_t{bf16} << 16); }

// Zero below 2^-10, so that f16 holds the number exactly.
uint16_t coarse(uint16_t bf16) { return std::abs(to_float(bf16)) < 0x1p-10f ? uint16_t{0} : bf16; }

// The f16 bits of a bf16 number that f16 holds exactly as a normal number.
uint16_t to_f16(uint16_t bf16) {
  const uint32_t bits = uint32_t{bf16} << 16;
  if (bits << 1 == 0) return 0;
  const uint32_t exponent = (bits >> 23 & 0xff) - 127 + 15;
  return static_cast<uint16_t>(bits >> 16 & 0x8000) | static_cast<uint16_t>(exponent << 10 | (bits >> 13 & 0x3ff));
}

}  // namespace

TEST(chunks_change_no_bit) {
  for (const Flat& flat : {nested_case(), plain_case(512, 700, 0, 2)}) {
    for (const Isa isa : isas()) {
      auto model = make_model(nested_model, isa, 2);
      const auto expected = test::whole(model, flat);
      for (const uint32_t size : {1, 7, 64, 300}) CHECK(same_bits(test::chunked(model, flat, size), expected));
    }
  }
}

TEST(threads_change_no_bit) {
  const Flat flat = nested_case();
  for (const Isa isa : isas()) {
    auto one = make_model(nested_model, isa, 1);
    const auto expected = test::whole(one, flat);
    for (const uint32_t threads : {2, 3, 5}) {
      auto model = make_model(nested_model, isa, threads);
      CHECK(same_bits(test::whole(model, flat), expected));
      CHECK(same_bits(test::chunked(model, flat, 90), expected));
    }
  }
}

TEST(slots_change_no_bit) {
  auto slots = test::slots_from(0, 2048);
  std::shuffle(slots.begin(), slots.end(), std::mt19937(3));
  for (const Isa isa : isas()) {
    auto model = make_model(nested_model, isa, 2);
    const auto expected = test::whole(model, nested_case());
    CHECK(same_bits(test::whole(model, nested_case(slots)), expected));
    CHECK(same_bits(test::chunked(model, nested_case(slots), 33), expected));
  }
}

// Random interleavings of three sequences, two of them the same: each step takes the next chunk of some of them, in any
// order, beside each other.
TEST(company_changes_no_bit) {
  const std::vector<Flat> flats{nested_case(test::slots_from(0, 600)), plain_case(512, 700, 600, 5),
                                nested_case(test::slots_from(1300, 600))};
  std::mt19937 random(7);
  for (const Isa isa : isas()) {
    auto model = make_model(nested_model, isa, 2);
    std::vector<std::vector<float>> expected;
    for (const Flat& flat : flats) expected.push_back(test::whole(model, flat));
    CHECK(same_bits(expected[0], expected[2]));
    for (int round = 0; round < 3; ++round) {
      std::vector<std::vector<Chunk>> chunks;
      for (const Flat& flat : flats) chunks.push_back(test::chunks_of(flat, 1 + random() % 120));
      std::vector<size_t> next(flats.size());
      const auto left = [&](size_t i) { return next[i] < chunks[i].size(); };
      while (left(0) || left(1) || left(2)) {
        std::vector<size_t> order{0, 1, 2};
        std::shuffle(order.begin(), order.end(), random);
        order.resize(1 + random() % 3);
        std::vector<Chunk> batch;
        for (const size_t i : order) {
          if (left(i)) batch.push_back(chunks[i][next[i]++]);
        }
        if (batch.empty()) continue;
        const auto logits = test::step(model, batch);
        size_t at = 0;
        for (const Chunk& chunk : batch) {
          const auto& all = expected[static_cast<size_t>(chunk.flat - flats.data())];
          const size_t count = size_t{chunk.end - chunk.begin} * 512;
          CHECK(same_bits(std::span(logits).subspan(at, count),
                          std::span(all).subspan(chunk.begin * size_t{512}, count)));
          at += count;
        }
      }
    }
  }
}

// The branches of a block decode side by side, a token each a step, as a server runs them.
TEST(branches_side_by_side_change_no_bit) {
  const Flat flat = nested_case();
  for (const Isa isa : isas()) {
    auto model = make_model(nested_model, isa, 2);
    const auto expected = test::whole(model, flat);
    std::vector<uint8_t> done(flat.tokens.size());
    std::vector<uint32_t> next;
    for (const auto& piece : flat.layout.pieces) next.push_back(piece.begin);
    uint32_t widest = 0;
    while (std::find(done.begin(), done.end(), 0) != done.end()) {
      std::vector<Chunk> batch;
      for (size_t i = 0; i < next.size(); ++i) {
        const auto& piece = flat.layout.pieces[i];
        const bool ready = std::all_of(piece.context.begin(), piece.context.end(), [&](const auto& seen) {
          return std::find(done.begin() + seen.begin, done.begin() + seen.end, 0) == done.begin() + seen.end;
        });
        if (ready && next[i] < piece.end) batch.push_back({&flat, next[i], next[i] + 1});
      }
      const auto logits = test::step(model, batch);
      for (size_t i = 0; i < batch.size(); ++i) {
        const uint32_t token = batch[i].begin;
        CHECK(
            same_bits(std::span(logits).subspan(i * 512, 512), std::span(expected).subspan(token * size_t{512}, 512)));
        done[token] = 1;
        for (size_t p = 0; p < next.size(); ++p) next[p] += next[p] == token && token < flat.layout.pieces[p].end;
      }
      widest = std::max(widest, static_cast<uint32_t>(batch.size()));
    }
    CHECK(widest >= 3);
  }
}

TEST(forms_of_a_checkpoint_change_no_bit) {
  const TemporaryDirectory plain, shards, wide, half, odd, untied;
  npr::model::write_random_checkpoint(plain.path(), tiny_config(), 9);
  rewrite(plain.path(), "BF16", coarse);
  const auto expected = answer(plain.path());
  for (const auto* copy : {&wide, &half, &odd, &untied})
    std::filesystem::copy(plain.path(), copy->path(), std::filesystem::copy_options::recursive);

  rewrite(wide.path(), "F32", to_float);
  CHECK(same_bits(answer(wide.path()), expected));
  rewrite(half.path(), "F16", to_f16);
  CHECK(same_bits(answer(half.path()), expected));

  Safetensors file = Safetensors::read(odd.path() / "model.safetensors");
  file.header += file.header.size() % 2 ? "  " : " ";
  file.write(odd.path() / "model.safetensors");
  CHECK(same_bits(answer(odd.path()), expected));

  file = Safetensors::read(untied.path() / "model.safetensors");
  const std::string embedding = file.data.substr(0, 2 * 101 * 36);
  file.append("lm_head.weight", "BF16", "[101,36]", embedding);
  file.write(untied.path() / "model.safetensors");
  CHECK(same_bits(answer(untied.path()), expected));
  test::edit(untied.path() / "config.json", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
  CHECK(same_bits(answer(untied.path()), expected));

  npr::model::write_random_checkpoint(shards.path(), tiny_config(), 9, 5000);
  const TemporaryDirectory single;
  npr::model::write_random_checkpoint(single.path(), tiny_config(), 9);
  CHECK(same_bits(answer(shards.path()), answer(single.path())));
}

TEST(progress_counts_every_byte) {
  const TemporaryDirectory directory;
  npr::model::write_random_checkpoint(directory.path(), tiny_config(false), 1);
  const Checkpoint checkpoint(directory.path());
  uint64_t last = 0;
  const Model model(checkpoint, support::make_test_backend({1, Isa::best}), 1 << 20, 8,
                    [&](uint64_t done, uint64_t total) {
                      CHECK(done > last && done <= total);
                      CHECK_EQ(total, checkpoint.bytes());
                      last = done;
                    });
  CHECK_EQ(last, checkpoint.bytes());
}

TEST(kv_memory_is_whole_slots) {
  const TemporaryDirectory directory;
  npr::model::write_random_checkpoint(directory.path(), tiny_config(), 1);
  const Checkpoint checkpoint(directory.path());
  const auto load = [&](uint64_t kv_bytes) {
    return Model(checkpoint, support::make_test_backend({1, Isa::best}), kv_bytes, 8).slots();
  };
  // 2 layers, 2 heads of 16, keys and values, 2 bytes each: 256 bytes a token.
  CHECK_EQ(load(16 * 256), 16u);
  CHECK_EQ(load(100 * 256 + 255), 100u);
  CHECK_EQ(CHECK_THROWS(load(16 * 256 - 1)),
           "KV memory: expected at least 4096 bytes (16 tokens of 256 bytes), found 4095");
  CHECK_THROWS(load(0));
}

TEST(refuses_weights_that_are_not_finite) {
  const TemporaryDirectory directory;
  npr::model::write_random_checkpoint(directory.path(), tiny_config(), 1);
  rewrite(directory.path(), "F32", [n = 0](uint16_t bits) mutable { return n++ == 5000 ? 3.4e38f : to_float(bits); });
  try {
    answer(directory.path());
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::invalid_checkpoint);
    const std::string message = error.what();
    CHECK(message.find("/model.safetensors: model.layers.0.") != std::string::npos);
    CHECK(message.find("expected finite weights, found NaN or infinity") != std::string::npos);
  }
}

TEST(refuses_batches_that_make_no_sense) {
  const TemporaryDirectory directory;
  npr::model::write_random_checkpoint(directory.path(), tiny_config(), 1);
  auto model = make_model(directory.path(), Isa::best, 1, 64, 8);
  const auto run = [&](auto spoil) {
    Flat flat = plain_case(101, 8, 0, 1);
    spoil(flat);
    return CHECK_THROWS(test::whole(model, flat));
  };
  CHECK(run([](Flat& f) { f.tokens[3] = 101; }).find("tokens within the vocabulary") != std::string::npos);
  CHECK(run([](Flat& f) { f.tokens[3] = -1; }).find("tokens within the vocabulary") != std::string::npos);
  CHECK(run([](Flat& f) { f.layout.positions[0] = 512; }).find("positions within") != std::string::npos);
  CHECK(run([](Flat& f) { f.slots[7] = 64; }).find("slots within the pool") != std::string::npos);
  CHECK(run([](Flat& f) { f = plain_case(101, 9, 0, 1); }).find("at most max_rows rows") != std::string::npos);
  const Flat sound = plain_case(101, 8, 0, 1);
  test::whole(model, sound);
  CHECK(CHECK_THROWS(model.logits(8, 1)).find("rows that were asked for") != std::string::npos);
}
