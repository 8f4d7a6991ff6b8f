#include "compute/path_order.h"

#include <algorithm>
#include <numeric>

namespace npr::compute {
namespace {

// Where two paths part: how many leading slots they share, and what comes next in each.
struct Fork {
  uint32_t common;
  bool a_ended, b_ended;
  Slot a, b;  // the slots that differ
};

Fork compare(std::span<const Run> a, std::span<const Run> b) {
  Fork fork{};
  size_t i = 0, j = 0;
  uint32_t used_a = 0, used_b = 0;  // of runs i and j
  while (true) {
    while (i < a.size() && used_a == a[i].count) ++i, used_a = 0;
    while (j < b.size() && used_b == b[j].count) ++j, used_b = 0;
    fork.a_ended = i == a.size();
    fork.b_ended = j == b.size();
    if (fork.a_ended || fork.b_ended) return fork;
    fork.a = a[i].begin + used_a;
    fork.b = b[j].begin + used_b;
    if (fork.a != fork.b) return fork;
    const uint32_t step = std::min(a[i].count - used_a, b[j].count - used_b);
    used_a += step;
    used_b += step;
    fork.common += step;
  }
}

bool before(std::span<const Run> a, std::span<const Run> b) {
  const Fork fork = compare(a, b);
  if (fork.a_ended || fork.b_ended) return fork.a_ended && !fork.b_ended;
  return fork.a < fork.b;
}

}  // namespace

uint32_t common_slots(std::span<const Run> a, std::span<const Run> b) { return compare(a, b).common; }

void order_rows(std::span<const Sequence> sequences, std::vector<Member>& out) {
  out.clear();
  std::vector<uint32_t> first_row(sequences.size()), order(sequences.size());
  uint32_t rows = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    first_row[s] = rows;
    rows += sequences[s].rows;
  }
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return before(sequences[a].path, sequences[b].path); });
  for (size_t i = 0; i < order.size(); ++i) {
    const Sequence& s = sequences[order[i]];
    uint32_t shared = i ? common_slots(sequences[order[i - 1]].path, s.path) : 0;
    for (uint32_t r = 0; r < s.rows; ++r) {
      out.push_back({first_row[order[i]] + r, s.length - s.rows + r + 1, order[i], shared});
      shared = all_shared;
    }
  }
}

}  // namespace npr::compute
