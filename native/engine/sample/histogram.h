// How often each token occurs: what the penalties count.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace npr::sample {

// A visible path is counted in layers: the prompt, the trunk, the branch, the branch nested in it. A trunk stands still
// while its branches run, so that a fork starts one empty layer and a join merges the branches' layers into the
// trunk's. Empty ones allocate nothing: who asks for no penalty pays nothing. Thread safety: const methods may run on
// several threads at once.
class Histogram {
 public:
  struct Entry {
    int32_t token;
    uint32_t count;
  };

  void add(int32_t token, uint32_t count = 1);
  void merge(const Histogram& other);
  uint32_t count(int32_t token) const;
  // Distinct tokens in order of first occurrence.
  std::span<const Entry> entries() const { return entries_; }

 private:
  uint32_t find(int32_t token) const;  // the token's place in slots_, or the free one where it belongs
  void grow();

  std::vector<Entry> entries_;
  std::vector<uint32_t>
      slots_;  // open addressing: 1 + index into entries_, 0 where free; a power of two, at most half full
};

// Calls f(token, count) once for each distinct token of `layers`, with its count over all of them.
template <class F>
void for_each_distinct(std::span<const Histogram* const> layers, F&& f) {
  for (size_t i = 0; i < layers.size(); ++i) {
    for (const Histogram::Entry& entry : layers[i]->entries()) {
      bool seen = false;
      for (size_t j = 0; j < i && !seen; ++j) seen = layers[j]->count(entry.token) > 0;
      if (seen) continue;
      uint32_t count = entry.count;
      for (size_t j = i + 1; j < layers.size(); ++j) count += layers[j]->count(entry.token);
      f(entry.token, count);
    }
  }
}

}  // namespace npr::sample
