#include "compute/cpu/pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "error.h"

namespace npr::compute {
namespace {
constexpr size_t huge_page = size_t{2} << 20;
}

Pages::Pages(size_t bytes, const std::string& purpose) {
  if (bytes == 0) return;
  // Only memory of a few huge pages is worth the up to 2 MiB of address space that aligning it costs.
  const bool huge = bytes >= 2 * huge_page;
  mapped_ = bytes + (huge ? huge_page : 0);
  mapping_ =
      mapped_ < bytes ? MAP_FAILED : mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    throw Error(ErrorCode::out_of_memory,
                "the system can't give " + std::to_string(bytes) + " bytes of memory for " + purpose);
  }
  data_ = mapping_;
  if (huge) {
    data_ = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(mapping_) + huge_page - 1) & ~(huge_page - 1));
    madvise(data_, bytes, MADV_HUGEPAGE);  // a hint: a kernel without huge pages is only slower
  }
}

Pages::~Pages() {
  if (mapping_) munmap(mapping_, mapped_);
}

Pages::Pages(Pages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

}  // namespace npr::compute
