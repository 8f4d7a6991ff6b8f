#include "sample/histogram.h"

#include <map>
#include <random>
#include <vector>

#include "check.h"

namespace {

using npr::sample::for_each_distinct;
using npr::sample::Histogram;
using Counts = std::map<int32_t, uint32_t>;

Counts counts(const Histogram& histogram) {
  Counts out;
  for (const auto& entry : histogram.entries()) {
    CHECK(out.emplace(entry.token, entry.count).second);
    CHECK_EQ(histogram.count(entry.token), entry.count);
  }
  return out;
}

TEST(counts_like_a_map) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<Histogram> layers(1 + random() % 4);
    std::vector<Counts> expected(layers.size());
    Counts all;
    const uint32_t range = 1 + random() % 300;
    for (uint32_t n = random() % 500; n > 0; --n) {
      const uint32_t layer = random() % layers.size();
      const auto token = static_cast<int32_t>((random() % range) * 4096);
      layers[layer].add(token);
      ++expected[layer][token];
      ++all[token];
    }
    std::vector<const Histogram*> pointers;
    for (size_t i = 0; i < layers.size(); ++i) {
      CHECK(counts(layers[i]) == expected[i]);
      CHECK_EQ(layers[i].count(1), 0u);
      pointers.push_back(&layers[i]);
    }
    Counts seen;
    for_each_distinct(pointers, [&](int32_t token, uint32_t count) { CHECK(seen.emplace(token, count).second); });
    CHECK(seen == all);

    // A fork starts an empty layer, a join merges it: the same as counting in one place.
    Histogram joined;
    for (const Histogram& layer : layers) joined.merge(layer);
    CHECK(counts(joined) == all);
  }
}

TEST(a_copy_is_independent) {
  Histogram a;
  a.add(3, 2);
  Histogram b = a;
  b.add(3);
  CHECK_EQ(a.count(3), 2u);
  CHECK_EQ(b.count(3), 3u);
}

}  // namespace
