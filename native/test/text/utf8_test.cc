#include "text/utf8.h"

#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace {

using npr::text::Utf8Assembler;

const std::string bad = "\xef\xbf\xbd";

std::string decode(const std::vector<std::string>& pieces) {
  Utf8Assembler characters;
  std::string out;
  for (const auto& piece : pieces) characters.push(piece, out);
  characters.flush(out);
  return out;
}

// Length of the well-formed character at s[i], by the table of the Unicode standard (3-7), or minus the length of the
// longest part of one that stands there; at least 1 either way.
int well_formed(const std::string& s, size_t i) {
  struct Form {
    int first_low, first_high, second_low, second_high, length;
  };
  static const Form forms[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                               {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                               {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  const auto byte = [&](size_t at) { return at < s.size() ? static_cast<uint8_t>(s[at]) : -1; };
  for (const Form& f : forms) {
    if (byte(i) < f.first_low || byte(i) > f.first_high) continue;
    for (int n = 1; n < f.length; ++n) {
      const int low = n == 1 ? f.second_low : 0x80, high = n == 1 ? f.second_high : 0xbf;
      if (byte(i + n) < low || byte(i + n) > high) return -n;
    }
    return f.length;
  }
  return -1;
}

std::string reference(const std::string& s) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    const int n = well_formed(s, i);
    out += n > 0 ? s.substr(i, n) : bad;
    i += n > 0 ? n : -n;
  }
  return out;
}

TEST(holds_back_an_incomplete_character) {
  Utf8Assembler characters;
  std::string out;
  characters.push("a\xf0\x9f", out);
  CHECK_EQ(out, "a");
  characters.push("\x98", out);
  CHECK_EQ(out, "a");
  characters.push("\x80z", out);
  CHECK_EQ(out, "a\xf0\x9f\x98\x80z");
  characters.flush(out);
  CHECK_EQ(out, "a\xf0\x9f\x98\x80z");
}

// Expected values are Python's bytes.decode('utf-8', 'replace').
TEST(replaces_what_is_not_utf8) {
  CHECK_EQ(decode({"\xff"}), bad);
  CHECK_EQ(decode({"\x80\x80"}), bad + bad);
  CHECK_EQ(decode({"\xe2\x82"}), bad);
  CHECK_EQ(decode({"\xe2\x82", "A"}), bad + "A");
  CHECK_EQ(decode({"\xf0\x9f\x98", "\xe2\x82\xac"}), bad + "\xe2\x82\xac");
  CHECK_EQ(decode({"\xc0\xaf"}), bad + bad);                      // overlong
  CHECK_EQ(decode({"\xed\xa0\x80"}), bad + bad + bad);            // a surrogate
  CHECK_EQ(decode({"\xf4\x90\x80\x80"}), bad + bad + bad + bad);  // above U+10FFFF
  CHECK_EQ(decode({"\xe0", "\x80", "x"}), bad + bad + "x");
  CHECK_EQ(decode({std::string("\0a", 2)}), std::string("\0a", 2));
}

TEST(does_not_depend_on_the_split) {
  std::mt19937 random(7);
  const std::vector<std::string> parts = {"a",
                                          "<",
                                          "\xc3\xa9",
                                          "\xe2\x82\xac",
                                          "\xf0\x9f\x98\x80",
                                          "\xed\x9f\xbf",
                                          "\xf4\x8f\xbf\xbf",
                                          "\xe0\xa0\x80",
                                          "\xe2",
                                          "\x82",
                                          "\xf0\x9f",
                                          "\xff",
                                          "\xed\xa0",
                                          "\xc0"};
  for (int round = 0; round < 5000; ++round) {
    std::string all;
    for (int i = 0; i < 12; ++i) {
      if (random() % 3) {
        all += parts[random() % parts.size()];
      } else {
        all += static_cast<char>(random() % 256);
      }
    }
    Utf8Assembler characters;
    std::string out;
    for (size_t at = 0; at < all.size();) {
      const size_t n = 1 + random() % 4;
      const size_t before = out.size();
      characters.push(std::string_view(all).substr(at, n), out);
      for (size_t i = before; i < out.size();) {  // only whole characters come out
        CHECK(well_formed(out, i) > 0);
        i += well_formed(out, i);
      }
      at += n;
      CHECK(out.size() + 3 >= reference(all.substr(0, at)).size());
    }
    characters.flush(out);
    CHECK_EQ(out, reference(all));
  }
}

}  // namespace
