#include "branch/layout.h"

#include "branch/reference_layout.h"
#include "branch/sequences.h"
#include "branch/words.h"
#include "check.h"
#include "error.h"
#include "model/golden.h"

namespace {

using namespace npr::branch;
using test::reference_layout;
using test::SequenceMaker;

const npr::text::Vocabulary& vocabulary() { return test::small_lexicon().vocabulary(); }

// What token q sees, by the pieces: [n] intervals. Fails where they do not cover [0, n) in order.
std::vector<std::vector<Interval>> rows_of(const Layout& layout) {
  std::vector<std::vector<Interval>> rows;
  for (const auto& piece : layout.pieces) {
    CHECK_EQ(size_t{piece.begin}, rows.size());
    CHECK(piece.begin < piece.end);
    for (uint32_t q = piece.begin; q < piece.end; ++q) {
      auto& row = rows.emplace_back(piece.context);
      if (!row.empty() && row.back().end == piece.begin) {
        row.back().end = q + 1;
      } else {
        row.push_back({piece.begin, q + 1});
      }
    }
  }
  CHECK_EQ(rows.size(), layout.positions.size());
  return rows;
}

void check_same(const std::vector<int32_t>& tokens) {
  const auto layout = parallel_layout(tokens, vocabulary());
  const auto expected = reference_layout(tokens, vocabulary());
  CHECK_EQ(layout.positions.size(), tokens.size());
  CHECK(layout.positions == expected.positions);
  CHECK(layout.structural == expected.structural);
  const auto rows = rows_of(layout);
  for (uint32_t q = 0; q < tokens.size(); ++q) CHECK(rows[q] == expected.row(q));

  CHECK_EQ(layout.machine.depth(), expected.open.size());
  CHECK(layout.machine.state() == expected.state);
  if (!expected.open.empty()) CHECK_EQ(layout.open_block, expected.open.back());
  if (layout.plain) CHECK_EQ(layout.machine.depth(), 0u);
}

// What the layout says of the next token is what the layout of one token more says of it.
void check_next(std::vector<int32_t> tokens) {
  const auto layout = parallel_layout(tokens, vocabulary());
  const auto n = static_cast<uint32_t>(tokens.size());
  tokens.push_back(test::letter_a);
  const auto more = reference_layout(tokens, vocabulary());
  CHECK_EQ(layout.next_position, more.positions.back());
  auto seen = layout.context;
  if (!seen.empty() && seen.back().end == n) {
    ++seen.back().end;
  } else {
    seen.push_back({n, n + 1});
  }
  CHECK(seen == more.row(n));
  if (!reference_layout(std::span(tokens).first(n), vocabulary()).reads_tags && !layout.plain) return;
  for (int32_t token = test::guideline; token <= test::takeaway_end; ++token) {
    tokens.back() = token;
    const bool acts = reference_layout(tokens, vocabulary()).structural.back();
    CHECK_EQ(acts, !layout.plain && layout.machine.allows(tag_of(*vocabulary().tags, token)));
  }
}

// Keys and values of a prefix may be shared by what begins with the same tokens acting the same way.
void check_prefix(const std::vector<int32_t>& tokens, uint32_t count) {
  const auto whole = parallel_layout(tokens, vocabulary());
  const auto prefix = parallel_layout(std::span(tokens).first(count), vocabulary());
  if (!std::equal(prefix.structural.begin(), prefix.structural.end(), whole.structural.begin())) return;
  CHECK(std::equal(prefix.positions.begin(), prefix.positions.end(), whole.positions.begin()));
  const auto some = rows_of(prefix), all = rows_of(whole);
  CHECK(std::equal(some.begin(), some.end(), all.begin()));
}

TEST(whole_conversations) {
  SequenceMaker make(1);
  uint32_t acting = 0;
  for (uint32_t i = 0; i < 4000; i += check::stride()) {
    const auto tokens = make.conversation();
    check_same(tokens);
    const auto layout = parallel_layout(tokens, vocabulary());
    const auto turns = assistant_turns(tokens, vocabulary());
    for (const auto& [begin, end] : turns) {
      for (uint32_t at = begin; at < end; ++at) CHECK_EQ(layout.structural[at], test::is_tag(tokens[at]));
    }
    acting += std::ranges::count(layout.structural, 1);
  }
  CHECK(acting > 50'000 / check::stride());
}

TEST(spoilt_conversations) {
  SequenceMaker make(2);
  for (uint32_t i = 0; i < 12000; i += check::stride()) check_same(make.spoilt());
}

TEST(open_blocks) {
  SequenceMaker make(3);
  uint32_t open = 0;
  for (uint32_t i = 0; i < 6000; i += check::stride()) {
    const auto tokens = make.beginning();
    check_same(tokens);
    open += parallel_layout(tokens, vocabulary()).machine.depth() > 0;
  }
  CHECK(open > 1000 / check::stride());
}

TEST(tags_in_any_order) {
  SequenceMaker make(4);
  for (uint32_t i = 0; i < 12000; i += check::stride()) check_same(make.soup());
}

TEST(the_next_token) {
  SequenceMaker make(5);
  for (uint32_t i = 0; i < 2000; i += check::stride()) {
    check_next(make.beginning());
    check_next(make.spoilt());
    check_next(make.soup());
  }
}

TEST(a_prefix_has_the_layout_of_the_whole) {
  SequenceMaker make(6);
  for (uint32_t i = 0; i < 3000; i += check::stride()) {
    const auto tokens = i % 2 ? make.conversation() : make.spoilt();
    check_prefix(tokens, make.below(static_cast<uint32_t>(tokens.size()) + 1));
  }
}

TEST(structure_is_read_in_closed_and_open_turns_of_the_assistant_alone) {
  using namespace test;
  const std::vector<int32_t> block{guideline, plan, plan_end, guideline_end, step, step_end, takeaway};
  const auto structural = [&](std::vector<int32_t> before, std::vector<int32_t> after) {
    before.insert(before.end(), block.begin(), block.end());
    before.insert(before.end(), after.begin(), after.end());
    return std::ranges::count(parallel_layout(before, vocabulary()).structural, 1);
  };
  CHECK_EQ(structural({}, {}), 0);
  CHECK_EQ(structural({im_start, letter_a, newline}, {}), 0);
  CHECK_EQ(structural({im_start, assistant, newline}, {}), 7);
  CHECK_EQ(structural({im_start, assistant, newline}, {im_end}), 7);
  CHECK_EQ(structural({im_start, assistant, newline}, {takeaway_end, im_end}), 8);
  CHECK_EQ(structural({im_start, assistant, newline}, {plan, im_end}), 0);
  CHECK_EQ(structural({im_start, assistant, newline, guideline, plan, im_end, im_start, assistant, newline}, {}), 7);
  CHECK_EQ(structural({im_start, assistant, newline, im_end, newline}, {}), 0);
}

TEST(no_structure_at_all) {
  const auto layout = plain_layout(5);
  CHECK((layout.positions == std::vector<int32_t>{0, 1, 2, 3, 4}));
  CHECK((layout.structural == std::vector<uint8_t>(5, 0)));
  const auto rows = rows_of(layout);
  for (uint32_t q = 0; q < 5; ++q) CHECK((rows[q] == std::vector<Interval>{{0, q + 1}}));
  CHECK((layout.context == std::vector<Interval>{{0, 5}}));
  CHECK_EQ(layout.next_position, 5);
  CHECK(plain_layout(0).pieces.empty());
  CHECK(parallel_layout({}, vocabulary()).pieces.empty());
  CHECK_THROWS(parallel_layout({}, npr::text::Vocabulary()));
}

TEST(golden_sequences) {
  using npr::model::Json;
  const auto vocabulary = test::golden_vocabulary();
  uint32_t with_mask = 0;
  for (const char* model : {"npr-lab", "random-mqa", "random-tied", "random-untied-sharded"}) {
    const std::string info = std::string(NPR_FIXTURES) + "/" + model + "/info.json";
    const auto json = Json::parse(npr::model::read_text(info, 1 << 20), info);
    const auto& entries = json.find("forward")->array();
    const auto goldens = test::load_goldens(model);
    CHECK_EQ(goldens.size(), entries.size());
    CHECK(!goldens.empty());
    for (size_t i = 0; i < goldens.size(); ++i) {
      const auto& golden = goldens[i];
      const auto layout = parallel_layout(golden.tokens, vocabulary);
      CHECK(layout.positions == golden.positions);
      std::vector<Interval> turns;
      for (const auto& turn : entries[i].find("assistant_turns")->array()) {
        const auto& ends = turn.array();
        turns.push_back({static_cast<uint32_t>(ends[0].number()), static_cast<uint32_t>(ends[1].number())});
      }
      CHECK(assistant_turns(golden.tokens, vocabulary) == turns);

      const auto rows = rows_of(layout);
      if (golden.mask.empty()) continue;
      ++with_mask;
      const size_t n = golden.tokens.size();
      CHECK_EQ(golden.mask.size(), n * n);
      for (size_t q = 0; q < n; ++q) {
        std::vector<uint8_t> row(n, 0);
        for (const auto& [begin, end] : rows[q]) std::fill(row.begin() + begin, row.begin() + end, uint8_t{1});
        CHECK(std::equal(row.begin(), row.end(), golden.mask.begin() + static_cast<ptrdiff_t>(q * n)));
      }
    }
  }
  CHECK(with_mask >= 20);
}

}  // namespace
