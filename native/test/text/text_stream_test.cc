#include "text/text_stream.h"

#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace {

using npr::text::StopMatcher;
using npr::text::StopSet;
using npr::text::TextStream;
using Strings = std::vector<std::string>;

TEST(a_stream_joins_characters_and_stops) {
  const StopSet set(Strings{"\xe2\x82\xac!"});
  TextStream stream(set);
  CHECK_EQ(stream.push("5 \xe2\x82"), "5 ");
  CHECK_EQ(stream.push("\xac"), "");
  CHECK_EQ(stream.push("?"), "\xe2\x82\xac?");
  CHECK_EQ(stream.push("\xe2"), "");
  CHECK_EQ(stream.push("\x82\xac"), "");
  CHECK_EQ(stream.push("!x"), "");
  CHECK_EQ(stream.stopped(), 0);
  CHECK_EQ(stream.flush(), "");
}

TEST(a_stream_flushes_what_it_holds) {
  const StopSet set(Strings{"end"});
  TextStream stream(set);
  CHECK_EQ(stream.push("the en"), "the ");
  CHECK_EQ(stream.push("\xf0\x9f"), "");
  CHECK_EQ(stream.flush(), "en\xef\xbf\xbd");
  CHECK_EQ(stream.push("d"), "d");
  CHECK_EQ(stream.stopped(), -1);
}

TEST(a_stream_does_not_depend_on_the_split) {
  std::mt19937 random(11);
  const Strings alphabet = {"a", "b", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
  for (int round = 0; round < 10000; ++round) {
    const auto word = [&](size_t most) {
      std::string s;
      for (size_t n = 1 + random() % most; n > 0; --n) s += alphabet[random() % alphabet.size()];
      return s;
    };
    Strings stops;
    for (size_t n = random() % 3; n > 0; --n) stops.push_back(word(3));
    const std::string all = word(20);
    const StopSet set(stops);
    TextStream stream(set);
    std::string out;
    for (size_t at = 0; at < all.size();) {
      const size_t n = 1 + random() % 3;
      out += stream.push(std::string_view(all).substr(at, n));
      at += n;
    }
    out += stream.flush();
    StopMatcher matcher(set);
    std::string whole;
    matcher.push(all, whole);
    matcher.flush(whole);
    CHECK_EQ(out, whole);
    CHECK_EQ(stream.stopped(), matcher.stopped());
  }
}

}  // namespace
