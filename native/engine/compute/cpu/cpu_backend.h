// The CPU backend.
#pragma once
#include <cstdint>
#include <memory>

#include "compute/backend.h"

namespace npr::compute {

// amx: AVX-512 with AMX's tiles for linear layers.
enum class Isa { best, amx, avx512, avx2, plain };
enum class WeightFormat { bf16, int8 };

struct CpuOptions {
  uint32_t threads = 0;  // 0: one a core
  Isa isa = Isa::best;   // the widest that both the build and the machine have
  WeightFormat weights = WeightFormat::bf16;
};

// Throws Error(invalid_request) where the machine or the build lacks `isa`.
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options);

}  // namespace npr::compute
