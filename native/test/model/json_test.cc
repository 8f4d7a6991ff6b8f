#include "model/json.h"

#include <limits>

#include "check.h"

using npr::model::Json;

namespace {

Json parse(const std::string& text) { return Json::parse(text, "here"); }

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(values) {
  const Json json = parse(R"( {"a": [1, -2.5e3, true, false, null, "x"], "b": {"c": {}}, "": []} )");
  CHECK_EQ(json.members().size(), 3u);
  const auto& list = json.find("a")->array();
  CHECK_EQ(list.size(), 6u);
  CHECK_EQ(*list[0].integer(), 1);
  CHECK_EQ(list[1].number(), -2500.0);
  CHECK(!list[1].integer());
  CHECK(list[2].boolean() && !list[3].boolean() && list[3].is(Json::Kind::boolean));
  CHECK(list[4].is(Json::Kind::null));
  CHECK_EQ(list[5].string(), "x");
  CHECK(json.find("b")->find("c")->members().empty());
  CHECK(json.find("")->is(Json::Kind::array));
  CHECK(json.find("absent") == nullptr);
}

TEST(integers_are_exact_to_64_bits) {
  CHECK_EQ(*parse("9223372036854775807").integer(), std::numeric_limits<int64_t>::max());
  CHECK_EQ(*parse("-9223372036854775808").integer(), std::numeric_limits<int64_t>::min());
  CHECK(!parse("9223372036854775808").integer());
  CHECK_EQ(parse("9223372036854775808").number(), 9223372036854775808.0);
  CHECK(!parse("1.0").integer());
  CHECK(!parse("1e2").integer());
  CHECK_EQ(*parse("-0").integer(), 0);
}

TEST(strings) {
  CHECK_EQ(parse(R"("\"\\\/\b\f\n\r\t")").string(), "\"\\/\b\f\n\r\t");
  CHECK_EQ(parse(R"("\u0041\u00e9\u20AC\ud83d\ude00")").string(), "A\u00e9\u20ac\U0001f600");
  CHECK_EQ(parse("\"\u00e9\u20ac\U0001f600\"").string(), "\u00e9\u20ac\U0001f600");
  CHECK_EQ(parse(R"("\u0000")").string(), std::string(1, '\0'));
}

TEST(refuses_what_is_not_json) {
  for (const char* text : {"",           " ",       "{",           "[1,]",      "[1 2]",  "{\"a\"}", "{\"a\":}",
                           "{\"a\":1,}", "{a:1}",   "{'a':1}",     "01",        "+1",     ".5",      "1.",
                           "1e",         "1e+",     "-",           "--1",       "0x1",    "NaN",     "Infinity",
                           "-Infinity",  "1e999",   "1e-999",      "tru",       "nulll",  "[] []",   "\"",
                           "\"\\\"",     "\"\\x\"", "\"\\u12g4\"", "\"\\u12\"", "\"\t\"", "\"\n\"",  "// comment\n1",
                           "[1]x"})
    CHECK(contains(CHECK_THROWS(parse(text)), "here: line "));
}

TEST(refuses_bad_utf8_and_lone_surrogates) {
  for (const char* text :
       {"\"\x80\"", "\"\xc0\xaf\"", "\"\xc1\xbf\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"", "\"\xf0\x80\x80\xaf\"",
        "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "\"\xff\"", "\"\xc3\"", "\xef\xbb\xbf{}"})
    CHECK(contains(CHECK_THROWS(parse(text)), "found byte 0x"));
  for (const char* text : {R"("\ud800")", R"("\udc00")", R"("\ud800\u0041")", R"("\ud800x")"})
    CHECK(contains(CHECK_THROWS(parse(text)), "surrogate"));
}

TEST(refuses_duplicate_keys) {
  CHECK(contains(CHECK_THROWS(parse(R"({"a":1,"b":2,"a":3})")), "\"a\" again"));
  CHECK(contains(CHECK_THROWS(parse(R"({"a":1,"\u0061":3})")), "\"a\" again"));
}

TEST(bounds_nesting) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(parse(nested(60)).is(Json::Kind::array));
  CHECK(contains(CHECK_THROWS(parse(nested(100))), "64 levels"));
  CHECK(contains(CHECK_THROWS(parse(std::string(1'000'000, '['))), "64 levels"));
}

TEST(errors_tell_where) {
  CHECK_EQ(CHECK_THROWS(parse("{\n \"a\": 1,\n \"b\" 2}")),
           "here: line 3, byte 16: expected ':' after a key, found '2'");
  CHECK_EQ(CHECK_THROWS(parse("[1")),
           "here: line 1, byte 2: expected ',' or ']' after an element, found the end of the text");
}

TEST(describes_values) {
  CHECK_EQ(parse("[1, 2.5, \"x\", null, {}, true]").describe(), "[1, 2.5, \"x\", null, an object, true]");
  CHECK_EQ(parse("[1,2,3,4,5,6,7,8,9]").describe(), "an array of 9");
  // A long string is cut between characters.
  CHECK_EQ(parse("\"" + std::string(59, 'x') + "\u20ac\u20ac\u20ac\"").describe(),
           "\"" + std::string(59, 'x') + "...\"");
}
