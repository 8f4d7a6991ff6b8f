#include "kv/radix_tree.h"

#include <pthread.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "check.h"

namespace {

using npr::kv::Key;
using npr::kv::RadixTree;
using npr::kv::Slot;
using npr::kv::SlotPool;
using Keys = std::vector<Key>;
using Slots = std::vector<Slot>;

// What the tree should hold: every cached prefix with its last slot, when it was last used, and who holds it.
struct Model {
  struct Entry {
    Slot slot;
    uint64_t used = 0;
    uint32_t locks = 0;
  };
  std::map<Keys, Entry> entries;
  uint64_t clock = 0;

  Slots match(const Keys& keys) const {
    Slots slots;
    for (size_t n = 1; n <= keys.size(); ++n) {
      const auto found = entries.find(Keys(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(n)));
      if (found == entries.end()) break;
      slots.push_back(found->second.slot);
    }
    return slots;
  }

  template <class F>
  void along(const Keys& keys, size_t count, F&& f) {
    for (size_t n = 1; n <= count; ++n) f(entries.at(Keys(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(n))));
  }
  void touch(const Keys& keys, size_t count) {
    ++clock;
    along(keys, count, [&](Entry& entry) { entry.used = clock; });
  }

  uint32_t evictable() const {
    return static_cast<uint32_t>(std::ranges::count_if(entries, [](const auto& e) { return !e.second.locks; }));
  }

  // The prefixes that no other continues, the one to go first: the least recently used that no one holds.
  std::map<Keys, Entry>::iterator oldest() {
    auto best = entries.end();
    for (auto at = entries.begin(); at != entries.end(); ++at) {
      const auto next = std::next(at);  // in lexical order a continuation comes right after
      const bool leaf = next == entries.end() || next->first.size() <= at->first.size() ||
                        !std::equal(at->first.begin(), at->first.end(), next->first.begin());
      if (leaf && !at->second.locks && (best == entries.end() || at->second.used < best->second.used)) best = at;
    }
    return best;
  }
};

struct Hold {
  RadixTree::Node* node;
  Keys keys;
  Slots slots;
};

class World {
 public:
  explicit World(uint32_t seed) : random_(seed), size_(20 + random_() % 300), pool_(size_), tree_(pool_) {}

  void run(int steps) {
    while (steps--) {
      switch (random_() % 8) {
        case 0:
        case 1:
          match();
          break;
        case 2:
        case 3:
        case 4:
          insert();
          break;
        case 5:
          evict(1 + random_() % 12);
          break;
        default:
          release();
      }
      check();
    }
    while (!holds_.empty()) release();
    check();
    CHECK_EQ(tree_.evictable(), tree_.cached());
    evict(size_ + 5);
    CHECK_EQ(tree_.cached(), 0u);
    CHECK_EQ(pool_.free(), size_);
  }

 private:
  uint32_t below(uint32_t n) { return random_() % n; }

  // Few different keys, or continuations of what is cached, so that prefixes meet and nodes split.
  Keys some_keys() {
    Keys keys;
    if (!model_.entries.empty() && below(2)) {
      keys = std::next(model_.entries.begin(), below(static_cast<uint32_t>(model_.entries.size())))->first;
    }
    for (uint32_t more = below(12); more; --more) keys.push_back(below(3));
    return keys;
  }

  void match() {
    Keys keys = some_keys();
    Slots slots{77};
    auto* const node = tree_.match(keys, slots);
    CHECK_EQ(slots[0], 77u);
    slots.erase(slots.begin());
    CHECK(slots == model_.match(keys));
    hold(node, keys, slots);
  }

  void hold(RadixTree::Node* node, Keys keys, Slots slots) {
    keys.resize(slots.size());
    model_.touch(keys, keys.size());
    model_.along(keys, keys.size(), [](auto& entry) { ++entry.locks; });
    holds_.push_back({node, std::move(keys), std::move(slots)});
  }

  // A sequence is put in alone, or as a held prefix and what was computed after it, as the scheduler does.
  void insert() {
    const Hold* from = holds_.empty() || below(2) ? nullptr : &holds_[below(static_cast<uint32_t>(holds_.size()))];
    Keys keys = from ? from->keys : some_keys();
    Slots slots = from ? from->slots : Slots{};
    const auto owned = static_cast<uint32_t>(slots.size());
    if (from) {
      for (uint32_t more = below(10); more; --more) keys.push_back(below(3));
    }
    const auto need = static_cast<uint32_t>(keys.size()) - owned;
    if (pool_.free() < need) evict(need - pool_.free());
    if (pool_.free() < need) return;
    pool_.take(need, {}, slots);

    const Slots known = model_.match(keys);
    Slots expected = slots;
    std::ranges::copy(known, expected.begin());
    const uint32_t free = pool_.free();
    auto* const node = tree_.insert(keys, slots, owned);
    CHECK(slots == expected);
    CHECK_EQ(pool_.free(), free + known.size() - owned);
    for (size_t n = known.size() + 1; n <= keys.size(); ++n) {
      model_.entries[Keys(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(n))] = {slots[n - 1]};
    }
    hold(node, keys, slots);
  }

  void release() {
    if (holds_.empty()) return;
    const uint32_t i = below(static_cast<uint32_t>(holds_.size()));
    std::swap(holds_[i], holds_.back());
    const Hold& last = holds_.back();
    if (below(4) == 0) {  // held twice for a moment
      tree_.lock(last.node);
      tree_.unlock(last.node);
    }
    tree_.unlock(last.node);
    model_.along(last.keys, last.keys.size(), [](auto& entry) { --entry.locks; });
    holds_.pop_back();
  }

  void evict(uint32_t count) {
    const uint32_t given = tree_.evict(count);
    uint32_t expected = 0;
    for (; expected < count; ++expected) {
      const auto oldest = model_.oldest();
      if (oldest == model_.entries.end()) break;
      CHECK(pool_.is_free(oldest->second.slot));
      model_.entries.erase(oldest);
    }
    CHECK_EQ(given, expected);
  }

  void check() {
    tree_.check();
    CHECK_EQ(tree_.cached(), model_.entries.size());
    CHECK_EQ(tree_.evictable(), model_.evictable());
    CHECK_EQ(pool_.free() + tree_.cached(), size_);
    std::set<Slot> visited;
    tree_.visit([&](Slot slot) { CHECK(visited.insert(slot).second); });
    CHECK_EQ(visited.size(), model_.entries.size());
    for (const auto& [keys, entry] : model_.entries) {
      CHECK(visited.contains(entry.slot));
      CHECK(!pool_.is_free(entry.slot));
    }
  }

  std::mt19937 random_;
  uint32_t size_;
  SlotPool pool_;
  RadixTree tree_;
  Model model_;
  std::vector<Hold> holds_;
};

TEST(random_operations_agree_with_a_map_of_prefixes) {
  for (uint32_t seed = 0; seed < 200; seed += check::stride()) World(seed).run(150);
}

TEST(a_tag_and_the_same_token_as_text_are_different_keys) {
  CHECK(npr::kv::key_of(7, true) != npr::kv::key_of(7, false));
  CHECK(npr::kv::key_of(0, true) != npr::kv::key_of(1, false));
}

TEST(what_is_matched_lately_stays) {
  SlotPool pool(64);
  RadixTree tree(pool);
  const auto put = [&](const Keys& keys) {
    Slots slots;
    pool.take(static_cast<uint32_t>(keys.size()), {}, slots);
    tree.unlock(tree.insert(keys, slots, 0));
  };
  const auto cached = [&](const Keys& keys) {
    Slots slots;
    tree.unlock(tree.match(keys, slots));
    return slots.size();
  };
  put({1, 2, 3, 4});
  put({1, 2, 5, 6});
  put({7, 8});
  CHECK_EQ(cached({1, 2, 3, 4}), 4u);
  CHECK_EQ(tree.evict(3), 3u);  // 6 and 5, then the tail of 7, 8
  CHECK_EQ(cached({7, 8}), 1u);
  CHECK_EQ(cached({1, 2, 5, 6}), 2u);
  CHECK_EQ(cached({1, 2, 3, 4}), 4u);
}

TEST(misuse_is_told) {
  SlotPool pool(8);
  RadixTree tree(pool);
  Slots slots;
  pool.take(2, {}, slots);
  auto* const node = tree.insert(Keys{1, 2}, slots, 0);
  tree.unlock(node);
  CHECK_THROWS(tree.unlock(node));
  CHECK_THROWS(tree.insert(Keys{1}, slots, 0));
  CHECK_THROWS(tree.insert(Keys{3, 4}, slots, 1));
}

}  // namespace

// A chain of one node a token, as a prompt that grows by one token a request makes, goes on a small stack.
TEST(a_deep_tree_takes_no_stack) {
  constexpr uint32_t depth = 10000;
  SlotPool pool(depth);
  std::optional<RadixTree> tree(std::in_place, pool);
  Keys keys;
  Slots slots;
  for (uint32_t i = 0; i < depth; ++i) keys.push_back(i);
  pool.take(depth, std::nullopt, slots);
  tree->unlock(tree->insert(keys, slots, 0));
  for (uint32_t count = depth; --count;) {
    Slots found;
    tree->unlock(tree->match(std::span(keys).first(count), found));
  }
  tree->check();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  pthread_t thread;
  const auto destroy = [](void* tree_to_go) -> void* {
    static_cast<std::optional<RadixTree>*>(tree_to_go)->reset();
    return nullptr;
  };
  CHECK_EQ(pthread_create(&thread, &attributes, destroy, &tree), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  CHECK(!tree);
}
