#include "compute/cpu/kernels.h"

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#include "compute/cpu/simd_avx512.h"
// the kernels below are written over what the line above defines
#include "compute/cpu/kernels_table.h"

const npr::compute::Kernels* npr::compute::avx512_kernels() { return &table; }
#else
const npr::compute::Kernels* npr::compute::avx512_kernels() { return nullptr; }
#endif
