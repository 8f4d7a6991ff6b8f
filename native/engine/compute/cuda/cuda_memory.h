// Memory of the device, and memory of the host that the device copies from and to at full speed.
#pragma once
#include <cstddef>

namespace npr::compute {

// Device memory; contents start as zero. Thread safety: as a pointer.
class DeviceArray {
 public:
  DeviceArray() = default;
  // Throws Error(out_of_memory) naming `what` and how much is free.
  DeviceArray(size_t bytes, const char* what);
  ~DeviceArray();
  DeviceArray(DeviceArray&& other) noexcept;
  DeviceArray& operator=(DeviceArray&& other) noexcept;

  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Pinned host memory. Thread safety: as a pointer.
class PinnedArray {
 public:
  PinnedArray() = default;
  PinnedArray(size_t bytes, const char* what);
  ~PinnedArray();
  PinnedArray(PinnedArray&& other) noexcept;
  PinnedArray& operator=(PinnedArray&& other) noexcept;

  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace npr::compute
