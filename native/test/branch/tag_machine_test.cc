#include "branch/tag_machine.h"

#include <set>
#include <string>

#include "check.h"

namespace {

using npr::branch::State;
using npr::branch::Tag;
using npr::branch::tag_of;
using npr::branch::TagMachine;

// One letter a tag, in the order of Tag.
constexpr std::string_view letters = "GgPpSsTt";

// Every sequence of at most `most` tags that are whole blocks and steps' insides, as the grammar
//   blocks := block*    block := G (P p){n} g (S blocks s){n} T t, n > 0
void put_blocks(const std::string& before, size_t most, std::set<std::string>& out);

// The blocks of up to `most` tags.
std::set<std::string> all_blocks(size_t most) {
  std::set<std::string> out;
  for (size_t plans = 1; 4 + 4 * plans <= most; ++plans) {
    std::string guideline = "G";
    for (size_t i = 0; i < plans; ++i) guideline += "Pp";
    std::set<std::string> heads{guideline + "g"};
    for (size_t i = 0; i < plans; ++i) {
      std::set<std::string> longer;
      const size_t after = 1 + 2 * (plans - i - 1) + 2;  // s, the steps that follow, T t
      for (const auto& head : heads) {
        std::set<std::string> insides;
        put_blocks("", most - after - head.size() - 1, insides);
        for (const auto& inside : insides) longer.insert(head + "S" + inside + "s");
      }
      heads = std::move(longer);
    }
    for (const auto& head : heads) out.insert(head + "Tt");
  }
  return out;
}

void put_blocks(const std::string& before, size_t most, std::set<std::string>& out) {
  out.insert(before);
  if (most < 8) return;
  for (const auto& block : all_blocks(most)) put_blocks(before + block, most - block.size(), out);
}

TEST(the_machine_accepts_what_the_grammar_derives) {
  std::set<std::string> sentences, prefixes;
  put_blocks("", 28, sentences);
  for (const auto& sentence : sentences) {
    for (size_t n = 0; n <= sentence.size(); ++n) prefixes.insert(sentence.substr(0, n));
  }
  CHECK(sentences.size() > 50);
  uint32_t tried = 0;
  for (const auto& prefix : prefixes) {
    if (prefix.size() > 11) continue;  // so short that some sentence of 28 tags goes on from it
    TagMachine machine;
    uint32_t depth = 0;
    for (const char c : prefix) {
      machine.apply(static_cast<Tag>(letters.find(c)));
      depth += c == 'G';
      depth -= c == 't';
    }
    CHECK_EQ(machine.depth(), depth);
    CHECK(machine.allows(Tag::none));
    for (size_t i = 0; i < letters.size(); ++i) {
      CHECK_EQ(machine.allows(static_cast<Tag>(i)), prefixes.contains(prefix + letters[i]));
      if (!machine.allows(static_cast<Tag>(i))) CHECK_THROWS(machine.apply(static_cast<Tag>(i)));
      ++tried;
    }
    CHECK_EQ(sentences.contains(prefix), machine.depth() == 0);
  }
  CHECK(tried > 400);
}

TEST(the_trunk_catches_up_with_its_branches) {
  TagMachine machine;
  for (const Tag tag : {Tag::guideline, Tag::plan, Tag::plan_end, Tag::plan, Tag::plan_end}) machine.apply(tag);
  CHECK_EQ(machine.plans(), 2u);
  CHECK_THROWS(machine.close_all_steps());
  machine.apply(Tag::guideline_end);
  CHECK(machine.state() == State::between);
  machine.close_all_steps();
  CHECK_EQ(machine.steps(), 2u);
  CHECK(!machine.allows(Tag::step));
  machine.apply(Tag::takeaway);
  machine.apply(Tag::takeaway_end);
  CHECK(machine.state() == State::trunk);
  CHECK_EQ(machine.plans(), 0u);
}

TEST(a_block_that_is_none) {
  TagMachine machine;
  machine.apply(Tag::guideline);
  machine.apply(Tag::plan);
  machine.drop_block();
  CHECK(machine.state() == State::trunk);
}

TEST(tokens_of_tags) {
  const npr::text::Tags tags{10, 20, 30, 40, 50, 60, 70, 80};
  for (int32_t i = 0; i < 8; ++i) {
    CHECK_EQ(token_of(tags, static_cast<Tag>(i)), 10 * (i + 1));
    CHECK(tag_of(tags, 10 * (i + 1)) == static_cast<Tag>(i));
  }
  CHECK(tag_of(tags, 11) == Tag::none);
}

}  // namespace
