// Launches that come again and again, as CUDA graphs.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <list>

namespace npr::compute {

// The least recently used of them go. Thread safety: one thread at a time.
class GraphCache {
 public:
  // What a graph's launches depend on.
  struct Key {
    uint32_t rows;
    uint64_t signature;
    bool operator==(const Key&) const = default;
  };

  explicit GraphCache(cudaStream_t stream) : stream_(stream) {}
  ~GraphCache() { clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // Does on the stream what `step` does there: calls it where the key is new, captures it where the key comes again,
  // from then on starts the graph. `step` must not allocate, copy from the host or wait.
  void run(const Key& key, const std::function<void()>& step);
  void clear();

 private:
  struct Entry {
    Key key;
    cudaGraphExec_t graph;  // null: met once
  };
  static constexpr size_t most = 64;

  cudaGraphExec_t capture(const std::function<void()>& step);
  void destroy(const Entry& entry);

  cudaStream_t stream_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace npr::compute
