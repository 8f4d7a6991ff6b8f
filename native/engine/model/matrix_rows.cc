#include "model/matrix_rows.h"

#include <algorithm>
#include <numeric>

#include "compute/convert.h"

namespace npr::model {

constexpr uint32_t block = 1 << 18;  // numbers at a time

void MatrixRows::read(const compute::Matrix& matrix, uint32_t first, uint32_t count, const Take& take) {
  const uint32_t step = std::max(1u, block / matrix.k());
  const size_t needed = size_t{step} * matrix.k();
  if (floats_ < needed) {
    memory_ = backend_.allocate(needed * sizeof(float));
    floats_ = needed;
  }
  auto* const floats = static_cast<float*>(memory_.get());
  for (uint32_t row = 0; row < count; row += step) {
    std::vector<int32_t> picked(std::min(step, count - row));
    std::iota(picked.begin(), picked.end(), static_cast<int32_t>(first + row));
    backend_.embed(picked, matrix, floats);
    round(floats, static_cast<uint32_t>(picked.size()) * matrix.k(), take);
  }
}

void MatrixRows::round(const float* device, uint32_t count, const Take& take) {
  const auto host = backend_.host(device, count);
  rounded_.resize(count);
  std::transform(host.begin(), host.end(), rounded_.begin(), compute::to_bf16);
  take(rounded_);
}

}  // namespace npr::model
