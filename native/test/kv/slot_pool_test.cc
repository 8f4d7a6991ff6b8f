#include "kv/slot_pool.h"

#include <random>
#include <set>

#include "check.h"

namespace {

using npr::kv::Slot;
using npr::kv::SlotPool;

constexpr uint32_t tile = SlotPool::tile;

std::vector<Slot> take(SlotPool& pool, uint32_t count, std::optional<Slot> after = {}) {
  std::vector<Slot> slots;
  pool.take(count, after, slots);
  return slots;
}

// The whole tiles of `pool` that are free.
uint32_t whole_tiles(const SlotPool& pool) {
  uint32_t whole = 0;
  for (uint32_t first = 0; first + tile <= pool.size(); first += tile) {
    bool all = true;
    for (uint32_t lane = 0; lane < tile; ++lane) all = all && pool.is_free(first + lane);
    whole += all;
  }
  return whole;
}

TEST(no_slot_is_lost_or_lent_twice) {
  for (uint32_t seed = 0; seed < 300; seed += check::stride()) {
    std::mt19937 random(seed);
    const uint32_t size = seed % 3 ? 1 + random() % 400 : 64 * tile * (1 + random() % 2) + random() % 40;
    SlotPool pool(size);
    std::vector<Slot> lent;
    std::set<Slot> held;
    for (int step = 0; step < 200; ++step) {
      if (random() % 2) {
        const uint32_t most = random() % 4 ? std::min<uint32_t>(pool.free(), 1 + random() % 40) : pool.free();
        std::optional<Slot> after;
        if (random() % 2) after = lent.empty() || random() % 4 == 0 ? random() % size : lent[random() % lent.size()];
        const auto before = lent.size();
        pool.take(most, after, lent);
        CHECK_EQ(lent.size(), before + most);
        for (size_t i = before; i < lent.size(); ++i) {
          CHECK(lent[i] < size);
          CHECK(held.insert(lent[i]).second);
        }
      } else {
        for (size_t some = lent.empty() ? 0 : random() % (lent.size() + 1); some; --some) {
          std::swap(lent[random() % lent.size()], lent.back());
          pool.give(lent.back());
          held.erase(lent.back());
          lent.pop_back();
        }
      }
      CHECK_EQ(pool.free() + held.size(), size_t{size});
      CHECK_EQ(pool.whole_tiles(), whole_tiles(pool));
      for (Slot slot = 0; slot < size; ++slot) CHECK_EQ(pool.is_free(slot), !held.contains(slot));
    }
    pool.reset();
    CHECK_EQ(pool.free(), size);
    CHECK_EQ(pool.whole_tiles(), size / tile);
  }
}

TEST(a_sequence_follows_itself_through_tiles) {
  for (uint32_t seed = 0; seed < 100; seed += check::stride()) {
    std::mt19937 random(seed);
    SlotPool pool(64 * tile);
    // Others hold tiles here and there.
    for (int i = 0; i < 20; ++i) take(pool, 1, random() % pool.size());
    std::vector<Slot> own = take(pool, 1);
    while (own.size() < 200) {
      const Slot last = own.back();
      const uint32_t whole = whole_tiles(pool);
      const uint32_t count = 1 + random() % 40;
      const auto rest = static_cast<uint32_t>(tile - 1 - last % tile);
      const uint32_t tiles = count > rest ? (count - rest + tile - 1) / tile : 0;
      CHECK_EQ(pool.tiles_for(count, last), tiles);
      pool.take(count, last, own);
      const size_t begin = own.size() - count;
      for (uint32_t i = 0; i < count; ++i) {
        const Slot slot = own[begin + i], before = own[begin + i - 1];
        if (i < rest) {
          CHECK_EQ(slot, before + 1);
        } else if (slot != before + 1) {
          CHECK_EQ(slot % tile, 0u);
          CHECK_EQ(before % tile, tile - 1);
        }
      }
      CHECK_EQ(whole_tiles(pool), whole - tiles);
    }
  }
}

TEST(single_slots_are_used_when_no_tile_is_left) {
  SlotPool pool(4 * tile);
  std::vector<Slot> all = take(pool, pool.size());
  CHECK_EQ(pool.free(), 0u);
  for (const Slot slot : {Slot{63}, Slot{5}, Slot{40}}) pool.give(slot);
  CHECK_EQ(pool.tiles_for(3, Slot{30}), 1u);
  CHECK_EQ(pool.tiles_for(1, Slot{4}), 0u);
  CHECK_EQ(pool.tiles_for(17, std::nullopt), 2u);
  CHECK((take(pool, 3, Slot{30}) == std::vector<Slot>{40, 63, 5}));
}

TEST(a_pool_that_ends_within_a_tile) {
  SlotPool pool(tile + 3);
  CHECK((take(pool, 1, Slot{tile + 2}) == std::vector<Slot>{0}));
  CHECK_EQ(take(pool, tile + 2).size(), size_t{tile + 2});
  CHECK_EQ(pool.free(), 0u);
}

TEST(misuse_is_told) {
  CHECK_THROWS(SlotPool(0));
  SlotPool pool(20);
  CHECK_THROWS(take(pool, 21));
  CHECK_EQ(pool.free(), 20u);
  CHECK_THROWS(pool.give(3));
  CHECK_THROWS(pool.give(20));
  const auto slots = take(pool, 1);
  pool.give(slots[0]);
  CHECK_THROWS(pool.give(slots[0]));
}

TEST(a_path_merges_neighbours) {
  npr::kv::Path path;
  const std::vector<Slot> slots{4, 5, 6, 9, 10, 3, 4};
  npr::kv::append(path, slots.data(), 2);
  npr::kv::append(path, slots.data() + 2, 0);
  npr::kv::append(path, slots.data() + 2, 5);
  CHECK_EQ(path.size(), 3u);
  CHECK_EQ(path[0].begin, 4u);
  CHECK_EQ(path[0].count, 3u);
  CHECK_EQ(path[1].begin, 9u);
  CHECK_EQ(path[1].count, 2u);
  CHECK_EQ(path[2].begin, 3u);
  CHECK_EQ(npr::kv::length(path), 7u);
  CHECK_EQ(npr::kv::length({}), 0u);
}

}  // namespace
