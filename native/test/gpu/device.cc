#include "gpu/device.h"

#include <cstdio>
#include <cstdlib>

namespace npr::gpu {
namespace {

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

template <class T>
T read(const uint8_t* at) {
  T x;
  std::memcpy(&x, at, sizeof x);
  return x;
}

uint32_t target_of(std::string_view ptx) {
  const size_t at = ptx.find(".target sm_");
  return at == std::string_view::npos ? 0 : static_cast<uint32_t>(std::strtoul(ptx.data() + at + 11, nullptr, 10));
}

// The newest PTX in a fat binary that is for no newer a device. Compressed, it is none that this device reads.
std::string_view ptx_of(const uint8_t* fatbin, uint32_t capability) {
  if (read<uint32_t>(fatbin) != 0xBA55ED50) throw std::runtime_error("not a fat binary");
  const uint8_t* entry = fatbin + read<uint16_t>(fatbin + 6);
  const uint8_t* end = entry + read<uint64_t>(fatbin + 8);
  std::string_view best;
  while (entry < end) {
    const auto kind = read<uint16_t>(entry);
    const auto header = read<uint32_t>(entry + 4);
    const auto size = read<uint64_t>(entry + 8);
    if (kind == 1) {
      const auto* text = reinterpret_cast<const char*>(entry + header);
      const std::string_view ptx(text, strnlen(text, size));
      const uint32_t target = target_of(ptx);
      if (target && target <= capability && target > target_of(best)) best = ptx;
    }
    entry += header + size;
  }
  return best;
}

}  // namespace

Device& Device::get() {
  static auto* device = new Device;  // used by destructors of static objects
  return *device;
}

Device::Device()
    : capability_(static_cast<uint32_t>(setting("NPR_SOFTWARE_GPU_CAPABILITY", 0))),
      processors_(static_cast<uint32_t>(setting("NPR_SOFTWARE_GPU_PROCESSORS", 8))),
      seed_(setting("NPR_SOFTWARE_GPU_SEED", 1)),
      races_(setting("NPR_SOFTWARE_GPU_RACES", 0) != 0) {}

void** Device::add_binary(const void* fatbin) {
  struct Wrapper {
    int magic, version;
    const uint8_t* data;
    void* file;
  };
  auto binary = std::make_unique<Binary>();
  binary->ptx = ptx_of(static_cast<const Wrapper*>(fatbin)->data, capability_);
  binaries_.push_back(std::move(binary));
  return reinterpret_cast<void**>(binaries_.back().get());
}

void Device::add_function(const void* host, void** binary, const char* name) {
  functions_[host] = std::make_unique<Function>(Function{name, binary});
}

Function* Device::function(const void* host_or_itself) {
  const auto found = functions_.find(host_or_itself);
  if (found != functions_.end()) return found->second.get();
  for (const auto& [host, f] : functions_) {
    if (f.get() == host_or_itself) return f.get();
  }
  return nullptr;
}

const Kernel& Device::kernel(const Function& f) {
  auto& binary = *reinterpret_cast<Binary*>(f.binary);
  if (binary.ptx.empty()) throw std::runtime_error("no PTX for this device, or it is compressed");
  if (!binary.module) binary.module = std::make_unique<Module>(binary.ptx);
  const Kernel* kernel = binary.module->kernel(f.name);
  if (!kernel) throw std::runtime_error("no kernel is called " + f.name);
  return *kernel;
}

cudaStream_t Device::add_stream() {
  streams_.push_back(std::make_unique<CUstream_st>());
  return streams_.back().get();
}

void Device::remove_stream(cudaStream_t s) {
  drain(*s);
  std::erase_if(streams_, [&](const auto& held) { return held.get() == s; });
}

void Device::add(cudaStream_t given, Work work) {
  CUstream_st& s = stream(given);
  if (s.capture) {
    s.capture->work.push_back(std::move(work));
  } else {
    s.work.push_back(std::move(work));
  }
}

void Device::add_copy(cudaStream_t given, std::function<void()> copy) {
  add(given, [copy = std::move(copy)](CUstream_st& s) {
    s.written.clear();
    copy();
  });
}

void Device::drain(CUstream_st& s, const bool* until) {
  while (!s.work.empty() && !(until && *until)) {
    const auto work = std::move(s.work.front());
    s.work.pop_front();
    if (lost_ == cudaSuccess) work(s);
  }
}

void Device::drain_all() {
  drain(legacy_);
  for (const auto& s : streams_) drain(*s);
}

void Device::launch(const Launch& given, CUstream_st& stream) {
  Launch launch = given;
  if (!launch.overlaps) stream.written.clear();
  launch.before = &stream.written;
  launch.races = races_;
  Written written;
  try {
    run(launch, seed_ + ++launches_, written);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "software GPU: %s: %s\n", launch.kernel->name.c_str(), error.what());
    lost_ = cudaErrorLaunchFailure;
  }
  stream.written.merge(written);
}

}  // namespace npr::gpu
