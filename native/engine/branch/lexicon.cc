#include "branch/lexicon.h"

#include <algorithm>

namespace npr::branch {

namespace {
constexpr std::string_view spaces = " \t\n\r\f\v";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
}  // namespace

Lexicon::Lexicon(text::Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
  for (uint32_t id = 0; id < vocabulary_.size(); ++id) {
    const auto bytes = vocabulary_.token(static_cast<int32_t>(id));
    if (!bytes.empty() && bytes.find_first_not_of(spaces) == bytes.npos)
      whitespace_.push_back(static_cast<int32_t>(id));
    const size_t colon = bytes.find(':');
    if (colon == bytes.npos || !may_become_number(bytes.substr(0, colon))) continue;
    number_ends_.push_back(static_cast<int32_t>(id));
    longest_number_end_ = std::max(longest_number_end_, number_tokens(bytes.substr(0, colon)));
  }
  if (!has_tags()) return;
  for (size_t i = 0; i < only_.size(); ++i) {
    const Tag tag = static_cast<Tag>(i);
    only_[i] = {token(tag)};
    tags_.push_back(token(tag));
    if (tag != Tag::guideline && tag != Tag::step_end) not_in_step_.push_back(token(tag));
  }
  for (size_t i = 0; i < except_.size(); ++i) {
    std::ranges::copy_if(tags_, std::back_inserter(except_[i]), [&](int32_t t) { return t != only_[i].front(); });
  }
}

bool Lexicon::ends(int32_t token) const { return std::ranges::find(end_tokens(), token) != end_tokens().end(); }

std::vector<int32_t> Lexicon::head(std::string_view number) const {
  std::vector<int32_t> out{token(Tag::step)};
  const auto put = [&](const std::vector<int32_t>& piece) { out.insert(out.end(), piece.begin(), piece.end()); };
  put(newline());
  for (const char c : number) put(c == '.' ? vocabulary_.dot : vocabulary_.digits[static_cast<size_t>(c - '0')]);
  put(vocabulary_.colon);
  return out;
}

uint32_t Lexicon::head_tokens(std::string_view number) const {
  return static_cast<uint32_t>(1 + newline().size() + vocabulary_.colon.size()) + number_tokens(number);
}

uint32_t Lexicon::number_tokens(std::string_view text) const {
  size_t total = 0;
  for (const char c : text) {
    if (c == '.') total += vocabulary_.dot.size();
    if (is_digit(c)) total += vocabulary_.digits[static_cast<size_t>(c - '0')].size();
  }
  return static_cast<uint32_t>(total);
}

bool may_become_number(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c == '.' || is_digit(c) || spaces.find(c) != spaces.npos; });
}

std::string plan_number(std::string_view text, uint32_t ordinal) {
  const size_t begin = std::min(text.find_first_not_of(spaces), text.size());
  size_t at = begin, end = begin;
  while (at < text.size() && is_digit(text[at])) {
    while (at < text.size() && is_digit(text[at])) ++at;
    end = at;
    if (at < text.size() && text[at] == '.') ++at;
  }
  const size_t colon = text.find_first_not_of(spaces, end);
  if (end > begin && colon != text.npos && text[colon] == ':') return std::string(text.substr(begin, end - begin));
  return std::to_string(ordinal);
}

}  // namespace npr::branch
