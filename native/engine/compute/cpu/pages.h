// Zeroed memory straight from the kernel.
#pragma once
#include <cstddef>
#include <string>

namespace npr::compute {

// Anonymous pages, zero until written and only then resident; huge pages where the kernel grants them.
// Thread safety: immutable; the memory itself is the owner's to guard.
class Pages {
 public:
  Pages() = default;
  // Throws Error(out_of_memory) naming `purpose`.
  Pages(size_t bytes, const std::string& purpose);
  ~Pages();
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;

  // Aligned to 64 bytes at least.
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace npr::compute
