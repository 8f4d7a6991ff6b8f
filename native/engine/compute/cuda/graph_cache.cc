#include "compute/cuda/graph_cache.h"

#include <algorithm>

#include "compute/cuda/cuda_check.h"

namespace npr::compute {

void GraphCache::run(const Key& key, const std::function<void()>& step) {
  const auto found = std::ranges::find(entries_, key, &Entry::key);
  if (found == entries_.end()) {
    step();
    entries_.push_front({key, nullptr});
    if (entries_.size() > most) {
      destroy(entries_.back());
      entries_.pop_back();
    }
    return;
  }
  entries_.splice(entries_.begin(), entries_, found);
  if (!found->graph) found->graph = capture(step);
  NPR_CUDA(cudaGraphLaunch(found->graph, stream_));
}

cudaGraphExec_t GraphCache::capture(const std::function<void()>& step) {
  cudaGraph_t recorded = nullptr;
  NPR_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  try {
    step();
  } catch (...) {
    cudaStreamEndCapture(stream_, &recorded);
    if (recorded) cudaGraphDestroy(recorded);
    cudaGetLastError();
    throw;
  }
  NPR_CUDA(cudaStreamEndCapture(stream_, &recorded));
  cudaGraphExec_t graph = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&graph, recorded, 0);
  cudaGraphDestroy(recorded);
  cuda_check(status, "cudaGraphInstantiate");
  return graph;
}

void GraphCache::destroy(const Entry& entry) {
  if (!entry.graph) return;
  cudaStreamSynchronize(stream_);  // it may be running
  cudaGraphExecDestroy(entry.graph);
}

void GraphCache::clear() {
  for (const Entry& entry : entries_) destroy(entry);
  entries_.clear();
}

}  // namespace npr::compute
