// Memory of the device, and memory of the host that the device copies from and to at full speed.
#pragma once
#include <algorithm>
#include <cstddef>
#include <utility>

namespace npr::compute {

// Both throw Error(out_of_memory) naming `what`; device memory starts as zero. Freeing waits for the kernels that are
// queued; where the device is lost nothing is left to be freed.
struct DeviceMemory {
  static void* allocate(size_t bytes, const char* what);
  static void free(void* data);
};
struct PinnedMemory {
  static void* allocate(size_t bytes, const char* what);
  static void free(void* data);
};

// Thread safety: as a pointer.
template <class Memory>
class CudaArray {
 public:
  CudaArray() = default;
  CudaArray(size_t bytes, const char* what) : data_(bytes ? Memory::allocate(bytes, what) : nullptr), bytes_(bytes) {}
  ~CudaArray() {
    if (data_) Memory::free(data_);
  }
  CudaArray(CudaArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  CudaArray& operator=(CudaArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // At least so large; what it held is gone where it grows, by half at least, so that slowly growing sizes seldom make
  // it. The old memory goes first: it may be what the new one needs.
  void reserve(size_t bytes, const char* what) {
    if (bytes <= bytes_) return;
    const size_t grown = std::max({bytes, bytes_ + bytes_ / 2, size_t{1} << 16});
    { const CudaArray old(std::move(*this)); }
    *this = CudaArray(grown, what);
  }

  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

using DeviceArray = CudaArray<DeviceMemory>;
using PinnedArray = CudaArray<PinnedMemory>;

}  // namespace npr::compute
