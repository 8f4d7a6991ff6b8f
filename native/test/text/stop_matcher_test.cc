#include "text/stop_matcher.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace {

using npr::text::StopMatcher;
using npr::text::StopSet;
using Strings = std::vector<std::string>;

struct Cut {
  std::string text;
  int32_t stop = -1;
};

// The definition: the shortest beginning that contains a stop string (so that it ends with one), less the longest such.
Cut reference(const std::string& all, const Strings& stops) {
  for (size_t end = 0; end <= all.size(); ++end) {
    int32_t best = -1;
    for (size_t s = 0; s < stops.size(); ++s) {
      const bool ends = stops[s].size() <= end && all.compare(end - stops[s].size(), stops[s].size(), stops[s]) == 0;
      if (ends && (best < 0 || stops[s].size() > stops[best].size())) best = static_cast<int32_t>(s);
    }
    if (best >= 0) return {all.substr(0, end - stops[best].size()), best};
  }
  return {all};
}

// The longest end of `text` that begins a stop string.
size_t held(const std::string& text, const Strings& stops) {
  for (size_t n = text.size(); n > 0; --n) {
    for (const auto& stop : stops) {
      if (n <= stop.size() && text.compare(text.size() - n, n, stop, 0, n) == 0) return n;
    }
  }
  return 0;
}

Cut run(const Strings& pieces, const Strings& stops) {
  const StopSet set(stops);
  StopMatcher matcher(set);
  std::string out;
  for (const auto& piece : pieces) matcher.push(piece, out);
  matcher.flush(out);
  return {out, matcher.stopped()};
}

void check_run(const Strings& pieces, const Strings& stops, const std::string& text, int32_t stop) {
  const Cut cut = run(pieces, stops);
  CHECK_EQ(cut.text, text);
  CHECK_EQ(cut.stop, stop);
}

TEST(cuts_before_the_stop) {
  check_run({"one\n", "\ntwo"}, {"\n\n"}, "one", 0);
  check_run({"abc"}, {"abc"}, "", 0);
  check_run({"a", "b", "c"}, {"abc"}, "", 0);
  check_run({"ab"}, {"abc"}, "ab", -1);
  check_run({"anything"}, {}, "anything", -1);
  check_run({"aab", "aaab!"}, {"aaab"}, "aab", 0);
  CHECK_EQ(CHECK_THROWS(StopSet(Strings{"x", ""})), "a stop string is empty");
}

TEST(of_several_stops_the_first_to_end_counts_then_the_longest) {
  check_run({"xabcd"}, {"abcd", "bc"}, "xa", 1);
  check_run({"xabc"}, {"bc", "abc", "c"}, "x", 1);
  check_run({"xyx"}, {"x", "x"}, "", 0);
}

TEST(never_leaks_part_of_a_stop_and_holds_no_more) {
  std::mt19937 random(3);
  for (int round = 0; round < 20000; ++round) {
    const auto word = [&](size_t most) {
      std::string s;
      for (size_t n = 1 + random() % most; n > 0; --n) s += static_cast<char>('a' + random() % 2);
      return s;
    };
    Strings stops;
    for (size_t n = random() % 4; n > 0; --n) stops.push_back(word(7));
    const std::string all = word(30);
    const Cut expected = reference(all, stops);
    const StopSet set(stops);
    StopMatcher matcher(set);
    std::string out;
    for (size_t at = 0; at < all.size();) {
      const size_t n = 1 + random() % 5;
      matcher.push(std::string_view(all).substr(at, n), out);
      at = std::min(at + n, all.size());
      if (matcher.stopped() < 0) CHECK_EQ(out.size(), at - held(all.substr(0, at), stops));
    }
    matcher.flush(out);
    CHECK_EQ(out, expected.text);
    CHECK_EQ(matcher.stopped(), expected.stop);
  }
}

TEST(a_flush_parts_what_came_before_from_what_follows) {
  const StopSet set(Strings{"STOP"});
  StopMatcher matcher(set);
  std::string out;
  matcher.push("a ST", out);
  CHECK_EQ(out, "a ");
  matcher.flush(out);
  CHECK_EQ(out, "a ST");
  matcher.push("OP STO", out);
  CHECK_EQ(out, "a STOP ");
  matcher.push("P!", out);
  CHECK_EQ(out, "a STOP ");
  CHECK_EQ(matcher.stopped(), 0);
  matcher.push("more", out);
  matcher.flush(out);
  CHECK_EQ(out, "a STOP ");
}

}  // namespace
