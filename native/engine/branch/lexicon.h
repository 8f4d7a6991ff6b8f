// Token lists that the structure needs, made once from the vocabulary.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "branch/tag_machine.h"
#include "text/vocabulary.h"

namespace npr::branch {

// Thread safety: immutable.
class Lexicon {
 public:
  explicit Lexicon(text::Vocabulary vocabulary);

  const text::Vocabulary& vocabulary() const { return vocabulary_; }
  bool has_tags() const { return vocabulary_.tags.has_value(); }
  Tag tag(int32_t token) const { return has_tags() ? tag_of(*vocabulary_.tags, token) : Tag::none; }
  int32_t token(Tag tag) const { return token_of(*vocabulary_.tags, tag); }
  bool ends(int32_t token) const;

  const std::vector<int32_t>& end_tokens() const { return vocabulary_.end_tokens; }
  const std::vector<int32_t>& newline() const { return vocabulary_.newline; }
  // Tokens of whitespace alone, ascending.
  const std::vector<int32_t>& whitespace() const { return whitespace_; }
  const std::vector<int32_t>& tags() const { return tags_; }
  const std::vector<int32_t>& only(Tag tag) const { return only_[static_cast<size_t>(tag)]; }
  const std::vector<int32_t>& tags_except(Tag tag) const { return except_[static_cast<size_t>(tag)]; }
  // All tags but <guideline> and </step>: what a step forbids where a block may open in it.
  const std::vector<int32_t>& not_in_step() const { return not_in_step_; }
  // Tokens that may complete a plan's number: a colon after nothing but digits, dots and whitespace.
  const std::vector<int32_t>& number_ends() const { return number_ends_; }
  // The most tokens that one of number_ends() adds to the number in a head.
  uint32_t longest_number_end() const { return longest_number_end_; }

  // The forced head of a branch: <step>, newline, number, colon; each piece tokenized by itself.
  std::vector<int32_t> head(std::string_view number) const;
  uint32_t head_tokens(std::string_view number) const;
  // Tokens that the digits and dots of `text` take in a head.
  uint32_t number_tokens(std::string_view text) const;

 private:
  text::Vocabulary vocabulary_;
  std::vector<int32_t> whitespace_, tags_, not_in_step_, number_ends_;
  std::array<std::vector<int32_t>, 8> only_, except_;
  uint32_t longest_number_end_ = 0;
};

// True where a plan's text holds digits, dots and whitespace alone: it may yet become a number.
bool may_become_number(std::string_view text);

// A plan's own number, ^\s*(\d+(\.\d+)*)\s*: in its text, else its ordinal, from 1.
std::string plan_number(std::string_view text, uint32_t ordinal);

}  // namespace npr::branch
