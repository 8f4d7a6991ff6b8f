#include "text/stop_matcher.h"

#include <algorithm>

#include "error.h"

namespace npr::text {

namespace {

// One step of Knuth-Morris-Pratt: how much of `text` is matched after `c`, given how much (less than all) was before.
uint32_t advance(const std::string& text, const std::vector<uint32_t>& border, uint32_t matched, char c) {
  while (matched > 0 && text[matched] != c) matched = border[matched - 1];
  return text[matched] == c ? matched + 1 : 0;
}

}  // namespace

StopSet::StopSet(std::span<const std::string> stops) {
  for (const std::string& text : stops) {
    if (text.empty()) throw Error(ErrorCode::invalid_request, "a stop string is empty");
    Pattern pattern{text, {0}};
    for (size_t i = 1; i < text.size(); ++i) {
      pattern.border.push_back(advance(text, pattern.border, pattern.border[i - 1], text[i]));
    }
    patterns_.push_back(std::move(pattern));
  }
}

StopMatcher::StopMatcher(const StopSet& stops) : stops_(&stops), matched_(stops.patterns_.size()) {}

void StopMatcher::push(std::string_view text, std::string& out) {
  if (stopped_ >= 0) return;
  const auto& patterns = stops_->patterns_;
  for (size_t i = 0; i < text.size(); ++i) {
    size_t longest = 0;
    for (size_t p = 0; p < patterns.size(); ++p) {
      matched_[p] = advance(patterns[p].text, patterns[p].border, matched_[p], text[i]);
      if (matched_[p] < patterns[p].text.size() || matched_[p] <= longest) continue;
      longest = matched_[p];
      stopped_ = static_cast<int32_t>(p);
    }
    if (stopped_ < 0) continue;
    held_ += text.substr(0, i + 1);
    out.append(held_, 0, held_.size() - longest);
    held_.clear();
    return;
  }
  held_ += text;
  const size_t keep = matched_.empty() ? 0 : *std::max_element(matched_.begin(), matched_.end());
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
}

void StopMatcher::flush(std::string& out) {
  out += held_;
  held_.clear();
  std::fill(matched_.begin(), matched_.end(), 0);
}

}  // namespace npr::text
