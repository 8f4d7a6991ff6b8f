#include "branch/lexicon.h"

#include <regex.h>

#include <algorithm>
#include <random>

#include "branch/words.h"
#include "check.h"

namespace {

using namespace npr::branch;
using test::small_lexicon;
using Tokens = std::vector<int32_t>;

TEST(the_plans_own_number) {
  CHECK_EQ(plan_number("1: add", 7), "1");
  CHECK_EQ(plan_number(" \n 2.10 : add", 7), "2.10");
  CHECK_EQ(plan_number("1.: add", 7), "7");
  CHECK_EQ(plan_number("1..2: add", 7), "7");
  CHECK_EQ(plan_number(".1: add", 7), "7");
  CHECK_EQ(plan_number("1 2: add", 7), "7");
  CHECK_EQ(plan_number("add 1: x", 7), "7");
  CHECK_EQ(plan_number("12", 7), "7");
  CHECK_EQ(plan_number("", 12), "12");
}

TEST(numbers_agree_with_the_regular_expression) {
  regex_t pattern;
  CHECK_EQ(regcomp(&pattern, "^[[:space:]]*([0-9]+(\\.[0-9]+)*)[[:space:]]*:", REG_EXTENDED), 0);
  const std::string_view letters = "0129.... ::\t\n\v\f\rx";
  std::mt19937 random(5);
  uint32_t numbered = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string text;
    for (auto n = random() % 9; n; --n) text += letters[random() % letters.size()];
    regmatch_t match[2];
    const bool found = regexec(&pattern, text.c_str(), 2, match, 0) == 0;
    numbered += found;
    CHECK_EQ(plan_number(text, 42), found ? text.substr(static_cast<size_t>(match[1].rm_so),
                                                        static_cast<size_t>(match[1].rm_eo - match[1].rm_so))
                                          : "42");
  }
  regfree(&pattern);
  CHECK(numbered > 2000);
}

TEST(heads) {
  const auto& lexicon = small_lexicon();
  using namespace test;
  CHECK((lexicon.head("1") == Tokens{step, newline, digit_0 + 1, colon}));
  CHECK((lexicon.head("10.2") == Tokens{step, newline, digit_0 + 1, digit_0, dot, digit_0 + 2, colon}));

  auto vocabulary = small_vocabulary();  // where a piece takes several tokens
  vocabulary.newline = {space, newline};
  vocabulary.digits[3] = {letter_a, letter_b};
  vocabulary.colon = {space, colon};
  CHECK((Lexicon(vocabulary).head("3.3") ==
         Tokens{step, space, newline, letter_a, letter_b, dot, letter_a, letter_b, space, colon}));
}

TEST(what_may_complete_a_number) {
  const auto& lexicon = small_lexicon();
  CHECK((lexicon.number_ends() == Tokens{test::colon, test::two_colon}));
  CHECK_EQ(lexicon.longest_number_end(), 1u);
  CHECK_EQ(lexicon.number_tokens(" 10.2 "), 4u);
  CHECK(may_become_number("") && may_become_number(" 1.") && !may_become_number("1: a") && !may_become_number("a"));
}

TEST(tags_and_lists) {
  const auto& lexicon = small_lexicon();
  CHECK((lexicon.whitespace() == Tokens{test::newline, test::space, test::two_newlines}));
  CHECK(lexicon.ends(test::im_end) && lexicon.ends(test::end_of_text) && !lexicon.ends(test::im_start));
  for (int32_t token = 0; token < test::words; ++token) {
    const Tag tag = lexicon.tag(token);
    CHECK_EQ(tag != Tag::none, test::is_tag(token));
    if (tag == Tag::none) continue;
    CHECK_EQ(lexicon.token(tag), token);
    CHECK((lexicon.only(tag) == Tokens{token}));
    CHECK_EQ(lexicon.tags_except(tag).size(), 7u);
    for (const int32_t other : lexicon.tags()) {
      CHECK_EQ(std::ranges::count(lexicon.tags_except(tag), other), other == token ? 0 : 1);
    }
    const bool may_come = tag == Tag::guideline || tag == Tag::step_end;
    CHECK_EQ(std::ranges::count(lexicon.not_in_step(), token), may_come ? 0 : 1);
  }
}

TEST(a_vocabulary_without_tags) {
  auto vocabulary = test::small_vocabulary();
  vocabulary.tags.reset();
  const Lexicon lexicon(vocabulary);
  CHECK(!lexicon.has_tags());
  for (int32_t token = 0; token < test::words; ++token) CHECK(lexicon.tag(token) == Tag::none);
  CHECK(lexicon.tags().empty());
}

}  // namespace
