// The prefix cache: a radix tree over flat sequences, each token with the slot of its keys and values.
//
// A key is a token id with a bit for 'acts as a tag'. A token's position and what it sees follow from the flat keys
// before it, so two sequences with a common flat prefix share its slots, blocks with branches included.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "kv/slot_pool.h"

namespace npr::kv {

using Key = uint32_t;
inline Key key_of(int32_t token, bool structural) { return static_cast<uint32_t>(token) << 1 | (structural ? 1u : 0u); }

// Thread safety: none; the scheduler's thread owns it.
class RadixTree {
 public:
  struct Node;

  // Slots that leave the tree are given back to `pool`, which must outlive it.
  explicit RadixTree(SlotPool& pool);
  ~RadixTree();

  // The longest cached prefix of `keys`: appends its slots and returns the node where it ends, locked.
  Node* match(std::span<const Key> keys, std::vector<Slot>& slots);

  // Puts a sequence in; the tree owns its slots from now on. Where it already holds a prefix of it, the caller's slots
  // for that prefix are given back and replaced in `slots` by the tree's. Returns the node where the sequence ends,
  // locked. `owned`: how many leading slots the tree owned before (they came from match() or insert()).
  Node* insert(std::span<const Key> keys, std::span<Slot> slots, uint32_t owned);

  // A locked node and its ancestors are not evicted.
  void lock(Node* node);
  void unlock(Node* node);

  // Gives back up to `count` slots of what no one holds, least recently used first; returns how many.
  uint32_t evict(uint32_t count);

  // Forgets everything, locks included; gives no slot back.
  void clear() noexcept;

  uint32_t cached() const { return cached_; }        // slots in the tree
  uint32_t evictable() const { return evictable_; }  // of them, slots of what no one holds
  void visit(const std::function<void(Slot)>& each) const;
  // Throws Error(internal) where counts and order disagree with the nodes.
  void check() const;

 private:
  // Cuts `node` after `count` keys; returns the upper part.
  Node* split(Node* node, uint32_t count);
  void touch(Node* node);
  void list(Node* node);  // enters it in idle_ if it is a leaf that no one holds
  void unlist(Node* node);

  struct Older {
    bool operator()(const Node* a, const Node* b) const;
  };

  SlotPool& pool_;
  std::unique_ptr<Node> root_;
  std::set<Node*, Older> idle_;  // leaves that no one holds
  uint64_t clock_ = 0;
  uint32_t cached_ = 0, evictable_ = 0;
};

struct RadixTree::Node {
  Node* parent = nullptr;
  std::vector<Key> keys;
  std::vector<Slot> slots;
  std::unordered_map<Key, std::unique_ptr<Node>> children;  // by their first key
  uint32_t locks = 0;
  uint64_t used = 0;
};

}  // namespace npr::kv
