#include "compute/cuda/cuda_check.h"

#include <string>

namespace npr::compute {
namespace {

// Errors after which every call of this process fails.
bool lost(cudaError_t status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorContextIsDestroyed:
    case cudaErrorCudartUnloading:
    case cudaErrorSystemNotReady:
    case cudaErrorContained:
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorExternalDevice:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace

void cuda_check(cudaError_t status, const char* call, std::source_location at) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // else the next launch would be blamed for it
  const std::string what = std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + " from " + call +
                           ", " + at.file_name() + ":" + std::to_string(at.line()) + ")";
  if (status == cudaErrorMemoryAllocation) {
    throw Error(ErrorCode::out_of_memory, "the GPU is out of memory: " + what, at);
  }
  if (lost(status)) {
    throw Error(ErrorCode::unavailable,
                "the GPU is lost to this process, which computes nothing until it is started again: " + what, at);
  }
  throw Error(ErrorCode::internal, "CUDA: " + what, at);
}

}  // namespace npr::compute
