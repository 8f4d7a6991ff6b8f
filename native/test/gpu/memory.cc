#include "gpu/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace npr::gpu {
namespace {

constexpr size_t page = 4096, alignment = 256;

size_t pages_of(size_t bytes) { return (bytes + page - 1) / page * page; }

}  // namespace

Memory& Memory::get() {
  static auto* memory = new Memory;  // outlives what static destructors free
  return *memory;
}

Memory::Memory() {
  const char* given = std::getenv("NPR_SOFTWARE_GPU_MEMORY");
  total_ = given ? std::strtoull(given, nullptr, 10) : size_t{2} << 30;
}

// Ends at the end of its pages, behind which none is mapped: what the host does there fails, too.
void* Memory::allocate(size_t bytes, bool host) {
  const std::lock_guard lock(mutex_);
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (!host && rounded > total_ - used_) return nullptr;
  void* pages = mmap(nullptr, pages_of(rounded) + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  mprotect(pages, pages_of(rounded), PROT_READ | PROT_WRITE);
  const auto begin = reinterpret_cast<uint64_t>(pages) + (pages_of(rounded) - rounded);
  if (rounded < size_t{64} << 20) std::memset(reinterpret_cast<void*>(begin), 0xA5, rounded);
  allocations_[begin] = {begin, bytes, host};
  if (!host) used_ += rounded;
  return reinterpret_cast<void*>(begin);
}

bool Memory::free(void* data) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(reinterpret_cast<uint64_t>(data));
  if (found == allocations_.end()) return false;
  const size_t rounded = (found->second.bytes + alignment - 1) / alignment * alignment;
  if (!found->second.host) used_ -= rounded;
  munmap(reinterpret_cast<void*>(found->first / page * page), pages_of(rounded) + page);
  allocations_.erase(found);
  return true;
}

Allocation Memory::find(uint64_t address) {
  const std::lock_guard lock(mutex_);
  auto found = allocations_.upper_bound(address);
  if (found == allocations_.begin()) return {};
  --found;
  return address - found->second.begin < found->second.bytes ? found->second : Allocation{};
}

size_t Memory::free_bytes() {
  const std::lock_guard lock(mutex_);
  return total_ - used_;
}

}  // namespace npr::gpu
