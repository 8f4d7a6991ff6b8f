// The device behind the runtime's functions: its kernels, its streams, and what went wrong on it.
#pragma once
#include <cuda_runtime_api.h>

#include <deque>
#include <memory>
#include <mutex>

#include "gpu/warp.h"

using Work = std::function<void(CUstream_st&)>;  // on the stream that runs it

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUevent_st {
  bool recorded = true;           // and reached
  CUstream_st* stream = nullptr;  // until it is
};
// What was given to it and has not run: nothing runs before it must, as nothing that is later may rely on it.
struct CUstream_st {
  std::deque<Work> work;
  CUgraph_st* capture = nullptr;
  npr::gpu::Written written;  // by launches since the last that waited for all before it
};

namespace npr::gpu {

// A kernel as programs name it: by the address of a function of theirs.
struct Function {
  std::string name;
  void** binary = nullptr;
  uint32_t most_dynamic_shared = 48 << 10;
};

class Device {
 public:
  static Device& get();

  std::recursive_mutex& mutex() { return mutex_; }
  // As in 90 for 9.0; 0: it was not asked for, and there is none.
  uint32_t capability() const { return capability_; }
  uint32_t processors() const { return processors_; }

  void** add_binary(const void* fatbin);
  void add_function(const void* host, void** binary, const char* name);
  // By the host's function or by what this gave; nullptr: neither.
  Function* function(const void* host_or_itself);
  // Its code for this device; throws std::runtime_error where there is none.
  const Kernel& kernel(const Function& f);

  CUstream_st& stream(cudaStream_t s) { return s ? *s : legacy_; }
  cudaStream_t add_stream();
  void remove_stream(cudaStream_t s);
  void add(cudaStream_t s, Work work);
  // Of copies, which overlap with no launch.
  void add_copy(cudaStream_t s, std::function<void()> copy);
  // Until the stream is empty, or `until` says so.
  void drain(CUstream_st& s, const bool* until = nullptr);
  void drain_all();
  void launch(const Launch& launch, CUstream_st& stream);

  // The error that the device is lost to, or none.
  cudaError_t lost() const { return lost_; }

 private:
  Device();

  struct Binary {
    std::string_view ptx;
    std::unique_ptr<Module> module;
  };

  std::recursive_mutex mutex_;
  uint32_t capability_, processors_;
  uint64_t launches_ = 0, seed_;
  bool races_;
  std::vector<std::unique_ptr<Binary>> binaries_;
  std::map<const void*, std::unique_ptr<Function>> functions_;
  std::vector<std::unique_ptr<CUstream_st>> streams_;
  CUstream_st legacy_;
  cudaError_t lost_ = cudaSuccess;
};

}  // namespace npr::gpu
