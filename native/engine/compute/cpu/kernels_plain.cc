#include "compute/cpu/simd_plain.h"
// the kernels below are written over what the line above defines
#include "compute/cpu/kernels_table.h"

const npr::compute::Kernels* npr::compute::plain_kernels() { return &table; }
