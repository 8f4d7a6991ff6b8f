#include "compute/cuda/cuda_matrix.h"

#include <string>

#include "error.h"

namespace npr::compute {

CudaMatrix::CudaMatrix(uint32_t n, uint32_t k) : n_(n), k_(k) {
  if (n == 0 || k == 0 || k % 2 != 0) {
    throw Error(ErrorCode::invalid_checkpoint, "a weight matrix of " + std::to_string(n) + " rows and " +
                                                   std::to_string(k) +
                                                   " columns: both must be positive, and the columns even");
  }
  data_ = DeviceArray(size_t{padded_n()} * stride() * sizeof(bf16), "weights");
}

}  // namespace npr::compute
