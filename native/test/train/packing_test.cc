// Where rows of random groups lie, and what each of them sees.
#include "train/packing.h"

#include <random>

#include "branch/sequences.h"
#include "check.h"
#include "train/trajectories.h"

namespace {

using namespace test;
using namespace npr::train;

// Groups of responses to random conversations, read back with their structure.
std::vector<Group> random_groups(uint32_t seed) {
  SequenceMaker make(seed);
  std::vector<Group> groups(1 + make.below(3));
  for (Group& group : groups) {
    group.prompt = make.below(3) ? std::vector<int32_t>{im_start, letter_a, im_end, im_start, assistant, newline}
                                 : make.beginning();
    if (group.prompt.empty()) group.prompt = {letter_a};
    group.parallel = make.below(5);
    group.trajectories.resize(make.below(5));
    for (auto& each : group.trajectories) {
      each.tokens = make.below(2) ? make.spoilt() : make.soup();
      if (make.below(2))
        each.tokens.erase(each.tokens.begin(), each.tokens.begin() + std::min<ptrdiff_t>(3, each.tokens.size()));
      if (each.tokens.empty()) each.tokens = {letter_b};
      each.weights.assign(each.tokens.size(), 1);
    }
  }
  return groups;
}

TEST(every_row_sees_what_its_layout_says) {
  uint32_t shared = 0, read_otherwise = 0;
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    const auto groups = random_groups(seed);
    const auto prepared = prepare(groups, small_config(10'000), small_lexicon());
    const MicroBatch micro = pack(prepared);
    const auto& batch = micro.batch;
    CHECK_EQ(micro.trajectories.size(), prepared.size());
    // The path of every row, from the sequences.
    std::vector<std::vector<uint32_t>> paths;
    for (const auto& sequence : batch.sequences) {
      std::vector<uint32_t> path;
      for (const auto& run : sequence.path) {
        for (uint32_t i = 0; i < run.count; ++i) path.push_back(run.begin + i);
      }
      CHECK_EQ(path.size(), sequence.length);
      for (uint32_t i = 0; i < sequence.rows; ++i) {
        paths.emplace_back(path.begin(), path.end() - (sequence.rows - 1 - i));
      }
    }
    CHECK_EQ(paths.size(), batch.rows());
    std::vector<bool> met(batch.rows());
    for (size_t i = 0; i < prepared.size(); ++i) {
      const Placed& placed = micro.trajectories[i];
      const auto& prompt = prepared[i].group->prompt;
      auto flat = prompt;
      flat.insert(flat.end(), prepared[i].trajectory->tokens.begin(), prepared[i].trajectory->tokens.end());
      const auto length = static_cast<uint32_t>(flat.size()), first = static_cast<uint32_t>(prompt.size());
      const auto layout = prepared[i].group->parallel ? engine::parallel_layout(flat, small_lexicon().vocabulary())
                                                      : engine::plain_layout(length);
      const auto row_of = [&](uint32_t at) {
        return at < first ? placed.prompt_row + at : placed.response_row + at - first;
      };
      for (const auto& piece : layout.pieces) {
        for (uint32_t q = piece.begin; q < piece.end; ++q) {
          std::vector<uint32_t> expected;
          for (const auto& [begin, end] : piece.context) {
            for (uint32_t at = begin; at < end; ++at) expected.push_back(row_of(at));
          }
          for (uint32_t at = piece.begin; at <= q; ++at) expected.push_back(row_of(at));
          const uint32_t row = row_of(q);
          CHECK(paths[row] == expected);
          CHECK_EQ(batch.tokens[row], flat[q]);
          CHECK_EQ(batch.positions[row], layout.positions[q]);
          CHECK_EQ(batch.slots[row], row);
          met[row] = true;
        }
      }
      for (uint32_t t = 0; first + t < length; ++t) CHECK_EQ(placed.predicts(t), row_of(first + t - 1));
      if (i && prepared[i - 1].group == prepared[i].group) {
        const bool same = placed.prompt_row == micro.trajectories[i - 1].prompt_row;
        same ? ++shared : ++read_otherwise;
      }
    }
    CHECK(std::ranges::all_of(met, [](bool m) { return m; }));
  }
  CHECK(shared > 1000 && read_otherwise > 10);
}

TEST(parts_stay_within_their_rows) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    const auto groups = random_groups(seed);
    const auto prepared = prepare(groups, small_config(10'000), small_lexicon());
    uint32_t longest = 0;
    for (const auto& each : prepared) longest = std::max(longest, each.rows());
    const uint32_t most = 1 + seed % 150, slots = std::max(longest, 40 + seed % 90);
    const auto parts = split(prepared, most, slots);
    size_t at = 0;
    uint32_t before = 0;
    for (const auto& part : parts) {
      CHECK(!part.empty() && part.data() == prepared.data() + at);
      at += part.size();
      const uint32_t rows = pack(part).batch.rows();
      CHECK(rows <= std::min(most, slots) || (part.size() == 1 && rows == part[0].rows()));
      // One trajectory more would not have fit into the part before.
      if (before) {
        const auto more = std::span(prepared).subspan(at - part.size() - before, before + 1);
        CHECK(pack(more).batch.rows() > std::min(most, slots));
      }
      before = static_cast<uint32_t>(part.size());
    }
    CHECK_EQ(at, prepared.size());
    if (!prepared.empty()) {
      const auto why = CHECK_THROWS(split(prepared, most, longest - 1));
      CHECK(why.find("takes " + std::to_string(longest) + " tokens with its prompt; the KV pool has " +
                     std::to_string(longest - 1) + " slots") != why.npos);
    }
  }
}

}  // namespace
