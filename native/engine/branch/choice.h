// One sample of a request: its trunk, its blocks and their branches, token by token.
//
// The choice knows structure and budgets; it knows neither slots nor the model. The scheduler computes what is pending
// and hands each sampled token to accept(), which appends it, forces what the structure demands, forks and joins.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "branch/branch.h"
#include "branch/lexicon.h"
#include "event.h"
#include "sample/sampler.h"
#include "sample/token_mask.h"

namespace npr::branch {

// Where a choice starts: the state that its prompt left.
struct Start {
  TagMachine machine;
  bool plain = false;
  Guideline guideline;  // of a block that the prompt left open
  int32_t next_position = 0;
};

using Events = std::vector<Event>;

// Thread safety: the scheduler's thread owns it; mask() and row() may run on several threads meanwhile.
class Choice {
 public:
  // `request` and `lexicon` must outlive the choice. max_positions: the model's.
  Choice(const Request& request, const Lexicon& lexicon, uint32_t index, const Start& start, uint32_t max_positions);

  uint32_t index() const { return index_; }
  Branch& trunk() { return *trunk_; }
  const Branch& trunk() const { return *trunk_; }
  bool finished() const { return finished_; }
  const Usage& usage() const { return usage_; }

  // What `branch` may sample next.
  sample::TokenMask mask(const Branch& branch) const;
  // Its logits [vocab], with all that the draw depends on: views of the choice, of `prompt`, the prompt's counts, and
  // of `layers`.
  sample::Row row(const Branch& branch, const sample::Histogram& prompt, const float* logits, uint32_t vocab,
                  std::vector<const sample::Histogram*>& layers) const;
  // Takes the token sampled for `branch`, which wants one.
  void accept(Branch& branch, const sample::Sampled& sampled, Events& out);
  // Ends the choice at once, wherever its branches are.
  void finish(FinishReason reason, Events& out, int32_t stop_token = -1, int32_t stop_string = -1);

 private:
  static const text::StopSet& no_stops();
  bool parallel() const { return request_.parallel.enabled; }
  bool allowed(const Branch& branch, Tag tag) const;
  bool inside_block(const Branch& branch) const { return !branch.is_trunk() || branch.machine.depth() > 0; }
  void constrain(const Branch& branch, sample::TokenMask& mask) const;

  void accept_end(Branch& branch, const sample::Sampled& sampled, Events& out);
  // A tag or an end of sequence that the state does not allow: true where that ends the branch.
  bool refuse(Branch& branch, const sample::Sampled& sampled, Events& out);
  void follow(Branch& branch, Tag tag, int32_t token, Events& out);
  void fork(Branch& branch, Events& out);
  void open_branch(Branch& parent, Block& block, std::string number, uint32_t share, Events& out);
  void cut(Branch& branch, Events& out);
  void close(Branch& branch, BranchEnd end, Events& out);
  void complete(Branch& branch, BranchEnd end, Events& out);
  void fault(Branch& branch, Events& out);
  void join(Branch& parent, Block& block, Events& out);
  static void drop_guideline(Branch& branch);

  void put(Branch& branch, int32_t token, bool structural, bool forced);
  // Appends forced tokens and reports them; `tag` says what the first of them does.
  void force(Branch& branch, Tag tag, std::span<const int32_t> tokens, Events& out);
  void report(Branch& branch, std::span<const int32_t> tokens, bool forced, const sample::Sampled* sampled, bool text,
              Events& out);
  void switch_channel(Branch& branch, Channel channel, Events& out);
  void flush(Branch& branch, Events& out);
  Event event(Event::Type type, const Branch& branch) const;

  const Request& request_;
  const Lexicon& lexicon_;
  uint32_t index_;
  bool counts_seen_, counts_own_;  // some penalty needs them
  text::StopSet stops_;            // for trunk text outside blocks
  std::unique_ptr<Branch> trunk_;
  uint32_t next_branch_ = 1, next_block_ = 0;
  Usage usage_;
  bool finished_ = false;
};

}  // namespace npr::branch
