// Where tests run: on the CPU, or with NPR_TEST_DEVICE=cuda in the environment on a GPU.
#pragma once
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "compute/device.h"
#include "compute/on_device.h"
#include "error.h"

namespace support {

inline bool on_cuda() {
  const char* const device = std::getenv("NPR_TEST_DEVICE");
  if (!device || std::string_view(device) == "cpu") return false;
  if (std::string_view(device) != "cuda")
    throw std::runtime_error(std::string("NPR_TEST_DEVICE is ") + device + ", expected cpu or cuda");
  return true;
}

// Its device arrays are its own: tests reach them through it alone.
inline std::unique_ptr<npr::compute::Backend> make_test_backend(const npr::compute::CpuOptions& options = {}) {
  if (!on_cuda()) return npr::compute::make_cpu_backend(options);
  if (options.weights == npr::compute::WeightFormat::int8) throw check::Skipped("int8 weights are the CPU's");
  return npr::compute::make_backend({.device = npr::compute::Device::cuda, .cpu = options});
}

// Its device arrays may be any memory of the host.
inline std::unique_ptr<npr::compute::Backend> make_open_backend(const npr::compute::CpuOptions& options = {}) {
  auto backend = make_test_backend(options);
  if (on_cuda()) return std::make_unique<OnDevice>(std::move(backend));
  return backend;
}

#if defined(__SANITIZE_THREAD__)
constexpr bool for_threads_alone = true;
#else
constexpr bool for_threads_alone = false;
#endif

// What a machine computes with: its instruction sets, or its GPU, which is one more way to do it. Where threads alone
// are watched, the best: no instruction set decides which rows go to which thread, and each takes long there.
inline std::vector<npr::compute::Isa> machine_isas() {
  using npr::compute::Isa;
  if (on_cuda() || for_threads_alone) return {Isa::best};
  if (std::getenv("NPR_SOFTWARE_TILES")) return {Isa::amx, Isa::avx512};  // the latter as a measure
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::amx, Isa::avx512, Isa::avx2, Isa::plain}) {
    try {
      npr::compute::make_cpu_backend({.threads = 1, .isa = isa});
      isas.push_back(isa);
    } catch (const npr::Error&) {
    }
  }
  return isas;
}

// The formats of weights that backends have here.
inline std::vector<npr::compute::WeightFormat> weight_formats() {
  using npr::compute::WeightFormat;
  if (on_cuda()) return {WeightFormat::bf16};
  return {WeightFormat::bf16, WeightFormat::int8};
}

}  // namespace support
