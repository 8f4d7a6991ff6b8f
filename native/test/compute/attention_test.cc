// Attention against a plain reference, and the rule that only a row's visible path decides its bits.
#include "check.h"
#include "compute/attention_world.h"

using namespace support;

namespace {

const Heads shapes[] = {{1, 1, 16}, {6, 2, 64}, {5, 1, 128}, {4, 4, 80}, {2, 1, 256}};
const Heads usual{4, 2, 64};

// Each row computed by itself, one token at a time, in slots that count up: what every other way must agree with.
std::vector<std::vector<bf16>> one_by_one(Backend& backend, Heads heads, const std::vector<uint32_t>& ids) {
  AttentionWorld world(backend, heads, static_cast<uint32_t>(ids.size()));
  std::vector<std::vector<bf16>> out;
  for (uint32_t i = 0; i < ids.size(); ++i) {
    out.push_back(world.step({{count_up(0, i + 1), {ids[i]}}})[0]);
  }
  return out;
}

// All slots of a pool in pieces of random lengths up to `longest`, the pieces in random order.
std::vector<Slot> scattered(Random& random, uint32_t slots, uint32_t longest) {
  std::vector<std::vector<Slot>> pieces;
  for (uint32_t s = 0; s < slots;) {
    const uint32_t n = std::min(slots - s, 1 + random.below(longest));
    pieces.push_back(count_up(s, n));
    s += n;
  }
  for (size_t i = pieces.size(); i > 1; --i) std::swap(pieces[i - 1], pieces[random.below(static_cast<uint32_t>(i))]);
  std::vector<Slot> out;
  for (const auto& p : pieces) out = joined(out, p);
  return out;
}

void poison_all(AttentionWorld& world, uint32_t slots) {  // as sequences of one token: no work for attention
  std::vector<Append> batch;
  for (Slot s = 0; s < slots; ++s) batch.push_back({{s}, {AttentionWorld::poison}});
  world.step(batch);
}

std::vector<Slot> head(const std::vector<Slot>& slots, size_t count) { return {slots.begin(), slots.begin() + count}; }

}  // namespace

TEST(matches_the_reference) {
  for (auto& backend : backends(2)) {
    for (const Heads& heads : shapes) {
      const auto ids = count_up(100, 1100);
      AttentionWorld world(*backend, heads, 1100);
      const auto rows = world.step({{count_up(0, 1100), ids}});
      for (uint32_t length : {1, 2, 17, 37, 63, 64, 65, 511, 512, 513, 1099, 1100}) {
        const auto expected = world.reference(head(ids, length));
        for (size_t i = 0; i < expected.size(); ++i) {
          near(widen(rows[length - 1][i]), expected[i], 0.008,
               backend->description() + ", head_dim " + std::to_string(heads.head_dim) + ", " + std::to_string(length) +
                   " keys, element " + std::to_string(i));
        }
      }
    }
  }
}

TEST(prefill_equals_token_by_token) {
  for (auto& backend : backends(2)) {
    for (const Heads& heads : shapes) {
      const auto ids = count_up(0, 150);
      const auto expected = one_by_one(*backend, heads, ids);
      AttentionWorld world(*backend, heads, 150);
      CHECK(world.step({{count_up(0, 150), ids}}) == expected);
    }
  }
}

TEST(placement_chunks_and_threads_change_no_bit) {
  constexpr uint32_t length = 600, slots = 750;
  const auto ids = count_up(5, length);
  std::vector<std::vector<std::vector<bf16>>> by_isa;
  for (auto& backend : backends(1)) by_isa.push_back(one_by_one(*backend, usual, ids));
  Random random(3);
  for (uint32_t threads : {1, 2, 3}) {
    for (uint32_t longest : {1, 5, 300}) {
      const auto order = head(scattered(random, slots, longest), length);
      auto expected = by_isa.begin();
      for (auto& backend : backends(threads)) {
        AttentionWorld world(*backend, usual, slots);
        poison_all(world, slots);
        for (uint32_t done = 0, rows; done < length; done += rows) {
          rows = std::min(length - done, 1 + random.below(250));
          const auto got = world.step({{head(order, done + rows), count_up(5 + done, rows)}}, random.below(2));
          for (uint32_t r = 0; r < rows; ++r) CHECK(got[r] == (*expected)[done + r]);
        }
        ++expected;
      }
    }
  }
}

// A pair of slots has its values side by side, whoever is in them.
TEST(which_slots_are_neighbours_changes_no_bit) {
  constexpr uint32_t length = 150, slots = 302;
  const auto ids = count_up(5, length);
  std::vector<std::vector<Slot>> orders(4, std::vector<Slot>(length));
  for (uint32_t i = 0; i < length; ++i) {
    orders[0][i] = 2 * i;      // each beside a stranger, before it
    orders[1][i] = 2 * i + 1;  // or behind
    orders[2][i] = i ^ 1;      // beside the right one, but in the wrong order
    orders[3][i] = i + 1;      // half a pair off
  }
  for (auto& backend : backends(2)) {
    const auto expected = one_by_one(*backend, usual, ids);
    for (const auto& order : orders) {
      AttentionWorld world(*backend, usual, slots);
      poison_all(world, slots);
      CHECK(world.step({{order, ids}}) == expected);
    }
  }
}

// Branches over one trunk, some forking off another branch, decoded and prefilled in one batch beside a stranger.
TEST(branches_together_equal_each_alone) {
  constexpr uint32_t slots = 4096;
  for (uint32_t trunk : {1, 64, 500}) {
    Random random(trunk);
    const auto order = scattered(random, slots, 60);
    std::vector<std::vector<uint32_t>> ids;  // of each sequence
    std::vector<std::vector<Slot>> paths;
    uint32_t used = trunk, fresh = 10000;
    for (uint32_t b = 0; b < 9; ++b) {
      std::vector<uint32_t> content = count_up(0, trunk);
      std::vector<Slot> path = head(order, trunk);
      if (b == 8) content.clear(), path.clear();  // shares nothing
      if (b >= 5 && b < 8) content = ids[1], path = paths[1];
      const uint32_t own = 1 + random.below(130);
      content = joined(content, count_up(fresh, own));
      path.insert(path.end(), order.begin() + used, order.begin() + used + own);
      used += own;
      fresh += own;
      ids.push_back(content);
      paths.push_back(path);
    }
    for (auto& backend : backends(2)) {
      // what the batch appends: the branches' own tokens, of sequence b the last rows[b]
      AttentionWorld world(*backend, usual, slots);
      poison_all(world, slots);
      world.step({{head(order, trunk), count_up(0, trunk)}});
      std::vector<Append> batch;
      for (uint32_t b = 0; b < 9; ++b) {
        const uint32_t before = b == 8 ? 0 : b >= 5 ? static_cast<uint32_t>(ids[1].size()) : trunk;
        batch.push_back({paths[b], {ids[b].begin() + before, ids[b].end()}});
      }
      const auto got = world.step(batch);
      size_t row = 0;
      for (uint32_t b = 0; b < 9; ++b) {
        if (b % 2) {  // every other one, for time
          row += batch[b].ids.size();
          continue;
        }
        AttentionWorld alone(*backend, usual, 1200);
        const auto size = static_cast<uint32_t>(ids[b].size());
        const auto expected = alone.step({{count_up(0, size), ids[b]}});
        for (size_t i = size - batch[b].ids.size(); i < size; ++i) CHECK(got[row++] == expected[i]);
      }
      CHECK_EQ(row, got.size());
    }
  }
}

// Heads of many sizes and groupings, spans that are shared whole, in part and not at all, rows that end tiles unevenly.
TEST(shared_and_own_spans_in_one_batch) {
  const Heads more_shapes[] = {{1, 1, 32}, {3, 1, 64}, {7, 1, 48}, {16, 2, 128}, {12, 2, 160}, {5, 5, 112}};
  for (const Heads& heads : more_shapes) {
    Random random(heads.q + heads.head_dim);
    for (uint32_t trunk : {37, 530}) {
      std::vector<std::vector<Slot>> paths;
      std::vector<uint32_t> rows;
      uint32_t used = trunk;
      for (uint32_t b = 0; b < 7; ++b) {
        const uint32_t own = b == 2 ? 37 : b == 4 ? 17 : 1 + random.below(3);
        paths.push_back(joined(b == 6   ? std::vector<Slot>()
                               : b == 5 ? paths[2]
                                        : count_up(0, trunk),
                               count_up(used, own)));  // a slot's content is its number
        used += own;
        rows.push_back(b == 4 ? 1 : own);
      }
      const auto backend = std::move(backends(2).front());
      AttentionWorld world(*backend, heads, used);
      world.step({{count_up(0, used), count_up(0, used)}});
      std::vector<Append> batch;
      for (size_t b = 0; b < paths.size(); ++b) {
        batch.push_back({paths[b], {paths[b].end() - rows[b], paths[b].end()}});
      }
      const auto got = world.step(batch);
      size_t end = 0;
      for (size_t b = 0; b < paths.size(); ++b) {
        for (uint32_t r = 0; r < rows[b]; r += 9) {
          const auto path = head(paths[b], paths[b].size() - rows[b] + r + 1);
          CHECK(world.step({{path, {path.back()}}})[0] == got[end + r]);
        }
        end += rows[b];
      }
    }
  }
}

TEST(many_rows_over_one_prefix) {  // more than one group takes, more than one wave of partial results holds
  constexpr Heads heads{24, 1, 256};
  constexpr uint32_t trunk = 1600, branches = 400;
  const auto backend = std::move(backends(2).front());  // the plan is the same for all
  AttentionWorld world(*backend, heads, trunk + branches);
  world.step({{count_up(0, trunk), count_up(0, trunk)}});
  std::vector<Append> batch;
  for (uint32_t b = 0; b < branches; ++b) {
    batch.push_back({joined(count_up(0, trunk), {trunk + b}), {trunk + b}});
  }
  const auto got = world.step(batch);
  for (uint32_t b = 0; b < branches; b += 97) CHECK(world.step({batch[b]})[0] == got[b]);
}

TEST(later_tokens_of_one_append_do_not_leak) {
  for (auto& backend : backends(2)) {
    AttentionWorld world(*backend, usual, 256);
    const auto clean = world.step({{count_up(0, 100), count_up(0, 100)}});
    auto ids = count_up(0, 100);
    for (uint32_t i = 77; i < 100; ++i) ids[i] = AttentionWorld::poison;
    const auto got = world.step({{count_up(100, 100), ids}});
    for (uint32_t i = 0; i < 77; ++i) CHECK(got[i] == clean[i]);
    for (uint32_t i = 77; i < 100; ++i) CHECK(std::isnan(widen(got[i][0])));
  }
}
