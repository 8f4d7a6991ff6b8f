#include "kv/radix_tree.h"

#include <algorithm>

#include "error.h"

namespace npr::kv {

bool RadixTree::Older::operator()(const Node* a, const Node* b) const {
  return a->used != b->used ? a->used < b->used : a < b;
}

RadixTree::RadixTree(SlotPool& pool) : pool_(pool), root_(std::make_unique<Node>()) { root_->locks = 1; }
RadixTree::~RadixTree() { clear(); }

void RadixTree::list(Node* node) {
  if (node != root_.get() && !node->locks && node->children.empty()) idle_.insert(node);
}

void RadixTree::unlist(Node* node) { idle_.erase(node); }

void RadixTree::touch(Node* node) {
  ++clock_;
  for (; node != root_.get(); node = node->parent) {
    const bool listed = idle_.erase(node) > 0;
    node->used = clock_;
    if (listed) idle_.insert(node);
  }
}

void RadixTree::lock(Node* node) {
  for (; node != root_.get(); node = node->parent) {
    if (node->locks++ == 0) {
      unlist(node);
      evictable_ -= static_cast<uint32_t>(node->slots.size());
    }
  }
}

void RadixTree::unlock(Node* node) {
  for (; node != root_.get(); node = node->parent) {
    ensure(node->locks > 0, "a lock for every unlock");
    if (--node->locks == 0) {
      evictable_ += static_cast<uint32_t>(node->slots.size());
      list(node);
    }
  }
}

RadixTree::Node* RadixTree::split(Node* node, uint32_t count) {
  unlist(node);
  auto upper = std::make_unique<Node>();
  Node* const result = upper.get();
  upper->parent = node->parent;
  upper->locks = node->locks;
  upper->used = node->used;
  upper->keys.assign(node->keys.begin(), node->keys.begin() + count);
  upper->slots.assign(node->slots.begin(), node->slots.begin() + count);
  node->keys.erase(node->keys.begin(), node->keys.begin() + count);
  node->slots.erase(node->slots.begin(), node->slots.begin() + count);
  auto& place = node->parent->children.at(upper->keys.front());
  upper->children.emplace(node->keys.front(), std::move(place));
  place = std::move(upper);
  node->parent = result;
  list(node);
  return result;
}

RadixTree::Node* RadixTree::match(std::span<const Key> keys, std::vector<Slot>& slots) {
  Node* node = root_.get();
  while (!keys.empty()) {
    const auto child = node->children.find(keys.front());
    if (child == node->children.end()) break;
    Node* next = child->second.get();
    const auto common = static_cast<uint32_t>(
        std::mismatch(next->keys.begin(), next->keys.end(), keys.begin(), keys.end()).first - next->keys.begin());
    if (common < next->keys.size()) next = split(next, common);
    slots.insert(slots.end(), next->slots.begin(), next->slots.end());
    keys = keys.subspan(common);
    node = next;
  }
  lock(node);
  touch(node);
  return node;
}

RadixTree::Node* RadixTree::insert(std::span<const Key> keys, std::span<Slot> slots, uint32_t owned) {
  ensure(keys.size() == slots.size(), "a slot for every key");
  std::vector<Slot> held;
  Node* node = match(keys, held);
  for (uint32_t i = 0; i < held.size(); ++i) {
    if (i >= owned) pool_.give(slots[i]);
    slots[i] = held[i];
  }
  const auto known = static_cast<uint32_t>(held.size());
  ensure(known >= owned, "an owned prefix that is still held");
  if (known == keys.size()) return node;

  auto leaf = std::make_unique<Node>();
  Node* const result = leaf.get();
  leaf->parent = node;
  leaf->keys.assign(keys.begin() + known, keys.end());
  leaf->slots.assign(slots.begin() + known, slots.end());
  cached_ += static_cast<uint32_t>(leaf->slots.size());
  leaf->locks = 1;  // its ancestors are locked by match()
  node->children.emplace(leaf->keys.front(), std::move(leaf));
  touch(result);
  return result;
}

uint32_t RadixTree::evict(uint32_t count) {
  uint32_t given = 0;
  while (given < count && !idle_.empty()) {
    Node* const leaf = *idle_.begin();
    // The tail goes first: what is left stays a prefix worth matching.
    const auto some = std::min<uint32_t>(count - given, static_cast<uint32_t>(leaf->slots.size()));
    for (uint32_t i = 0; i < some; ++i) {
      pool_.give(leaf->slots.back());
      leaf->slots.pop_back();
    }
    given += some;
    cached_ -= some;
    evictable_ -= some;
    if (!leaf->slots.empty()) {
      leaf->keys.resize(leaf->slots.size());
      break;
    }
    unlist(leaf);
    Node* const parent = leaf->parent;
    parent->children.erase(leaf->keys.front());
    list(parent);
  }
  return given;
}

// One leaf after another: destructors that recurse would overflow the stack where a tree is as deep as a prompt is
// long.
void RadixTree::clear() noexcept {
  idle_.clear();
  for (Node* node = root_.get(); node != root_.get() || !node->children.empty();) {
    const auto child = node->children.begin();
    if (child != node->children.end() && child->second) {
      node = child->second.get();
    } else if (child != node->children.end()) {  // left by a split() that broke off
      node->children.erase(child);
    } else {
      node = node->parent;
      node->children.erase(node->children.begin());
    }
  }
  cached_ = evictable_ = 0;
}

void RadixTree::visit(const std::function<void(Slot)>& each) const {
  std::vector<const Node*> todo{root_.get()};
  while (!todo.empty()) {
    const Node* node = todo.back();
    todo.pop_back();
    for (const Slot slot : node->slots) each(slot);
    for (const auto& [key, child] : node->children) todo.push_back(child.get());
  }
}

void RadixTree::check() const {
  uint32_t cached = 0, evictable = 0;
  size_t idle = 0;
  std::vector<const Node*> todo{root_.get()};
  while (!todo.empty()) {
    const Node* node = todo.back();
    todo.pop_back();
    cached += static_cast<uint32_t>(node->slots.size());
    if (!node->locks) evictable += static_cast<uint32_t>(node->slots.size());
    if (node != root_.get()) {
      ensure(!node->keys.empty() && node->keys.size() == node->slots.size(), "a cached node with a slot for every key");
      const bool listed = idle_.contains(const_cast<Node*>(node));
      ensure(listed == (!node->locks && node->children.empty()),
             "every idle leaf listed for eviction, and no other node");
      idle += listed;
    }
    for (const auto& [key, child] : node->children) {
      ensure(child->parent == node && child->keys.front() == key, "a child that knows its parent");
      ensure(node->locks >= (child->locks ? 1u : 0u), "an ancestor locked with its descendant");
      todo.push_back(child.get());
    }
  }
  ensure(cached == cached_ && evictable == evictable_ && idle == idle_.size(),
         "cache counts that agree with its nodes");
}

}  // namespace npr::kv
