#include <cuda_runtime_api.h>

#include <string>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/tensor_map.h"

namespace npr::compute {

namespace {

// Asked of the runtime, so that the program needs no driver to be linked or started.
auto encoder() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  NPR_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result));
  ensure(result == cudaDriverEntryPointSuccess && found, "the driver describes tensors");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
}

// Boxes of `rows` lines of 128 bytes.
CUtensorMap map_of(CUtensorMapDataType type, uint32_t element, const void* data, uint64_t width, uint64_t height,
                   uint64_t stride, uint32_t rows) {
  static const auto encode = encoder();
  const cuuint64_t sizes[] = {width, height}, strides[] = {stride * element};
  const cuuint32_t boxes[] = {128 / element, rows}, steps[] = {1, 1};
  CUtensorMap map;
  const CUresult status =
      encode(&map, type, 2, const_cast<void*>(data), sizes, strides, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Error(ErrorCode::internal, "cuTensorMapEncodeTiled failed with " + std::to_string(status) +
                                         " for a matrix [" + std::to_string(height) + ", " + std::to_string(width) +
                                         "]");
  }
  return map;
}

}  // namespace

CUtensorMap tensor_map(const bf16* data, uint64_t width, uint64_t height, uint64_t stride, uint32_t box) {
  return map_of(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, sizeof(bf16), data, width, height, stride, box);
}

CUtensorMap tensor_map(const float* data, uint64_t n, uint64_t rows) {
  return map_of(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, sizeof(float), data, n, rows, n, 32);
}

}  // namespace npr::compute
