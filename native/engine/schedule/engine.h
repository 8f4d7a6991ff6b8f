// Continuous batching: requests come in, events go out, one forward step at a time.
#pragma once
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "branch/lexicon.h"
#include "event.h"
#include "kv/radix_tree.h"
#include "kv/slot_pool.h"
#include "model/model.h"
#include "request.h"
#include "schedule/active.h"
#include "schedule/batch_builder.h"
#include "schedule/device_draws.h"

namespace npr::schedule {

struct Options {
  uint32_t max_running = 64;   // requests that run at once
  uint32_t max_waiting = 256;  // requests that wait beyond those; one more is refused
  bool prefix_cache = true;
};

struct Stats {
  uint32_t running = 0, waiting = 0, branches = 0;
  uint32_t slots = 0, free = 0, cached = 0;  // cached: in the prefix cache, held by no request
  uint64_t steps = 0, prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, forced_tokens = 0, blocks = 0,
           forked_branches = 0, preemptions = 0, requests = 0;
};

// Thread safety: submit, cancel, stats, exclusive and check_integrity may be called from any thread, the sink's
// included; start, close and the destructor from one other thread at a time.
class Engine {
 public:
  // Takes the events of one step, on the thread that runs it. Must not throw.
  using Sink = std::function<void(std::vector<Event>&&)>;

  Engine(std::unique_ptr<model::Model> model, text::Vocabulary vocabulary, const Options& options, Sink sink);
  ~Engine();

  // Takes a request; its events end with `finished` or `failed`. Throws Error: invalid_request where it can't ever be
  // served, queue_full, unavailable once closed.
  void submit(Request request);
  // Ends a request wherever it is; unknown ids are ignored.
  void cancel(RequestId id);

  // Calls work(model) while nothing else uses the model: the prefix cache is dropped, every slot of the pool free for
  // `work`, and requests that come meanwhile wait for its end. Throws Error: invalid_request where requests run or
  // wait, unavailable once closed; and what `work` throws.
  void exclusive(const std::function<void(model::Model&)>& work);

  // Runs steps on a thread of its own until close().
  void start();
  // Ends every request as cancelled and stops the thread.
  void close();
  // One step; false where there was nothing to do. For callers that run the engine themselves.
  bool step();

  Stats stats() const;
  // Throws Error(internal) where a slot has two owners or none, or a count is off. Waits for the running step.
  void check_integrity() const;

  const branch::Lexicon& lexicon() const { return lexicon_; }
  const model::Config& config() const { return model_->config(); }
  std::string description() const { return model_->backend().description(); }
  uint32_t slots() const { return pool_.size(); }

 private:
  void run();
  void take_inbox();
  void admit();
  bool prepare(Active& active);
  std::vector<uint32_t> plan() const;
  std::vector<uint32_t> make_room();
  void preempt(Active& active);
  void compute(const std::vector<uint32_t>& quotas);
  void sample();
  struct LogitBlock;
  struct Draw {
    sample::Sampled sampled;
    std::optional<Error> fault;
  };
  void sample_rows(LogitBlock& block, std::span<const SampleRow> rows);
  std::vector<uint32_t> draw_on_device(LogitBlock& block, std::span<const SampleRow> rows, std::span<Draw> draws);
  std::vector<uint32_t> score_on_device(LogitBlock& block, std::span<const ScoreRow> rows,
                                        std::span<sample::Score> scores);
  sample::Row row_of(const SampleRow& at, const float* logits, std::vector<const sample::Histogram*>& layers) const;
  void score_rows(LogitBlock& block, std::span<const ScoreRow> rows);
  void finish_prompts();
  void finish_requests();
  // Slots go to the prefix cache as far as the flat sequence is computed, the rest back to the pool; with keep = false
  // all go back.
  void release(Active& active, branch::Choice& choice, bool keep);
  void release_prompt(Active& active, bool keep);
  void end(Active& active);
  void fail(Active& active, const Error& error);
  void report_failure(RequestId id, ErrorCode code, const char* what);
  void start_over(ErrorCode code, const char* what);
  void publish();

  std::unique_ptr<model::Model> model_;
  const branch::Lexicon lexicon_;
  const Options options_;
  const Sink sink_;

  // The scheduler's own; guarded by state_.
  mutable std::mutex state_;
  kv::SlotPool pool_;
  kv::RadixTree tree_;
  BatchBuilder builder_;
  std::vector<sample::PolicyBatch::Edits> row_edits_;
  DeviceDraws device_draws_;
  DeviceScores device_scores_;
  // Requests move from list to list as nodes, so that a step that breaks off loses none.
  std::list<Active> running_, waiting_;  // oldest first
  branch::Events events_;
  Stats totals_;

  // What other threads hand in and read; guarded by door_, which is never held while computing.
  mutable std::mutex door_;
  std::condition_variable bell_;
  std::list<Active> inbox_;
  std::unordered_set<RequestId> cancelled_, live_;
  Stats seen_;
  uint64_t arrivals_ = 0;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace npr::schedule
