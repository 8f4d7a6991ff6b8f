// Everything that one instruction set compiles, as its table. Included last by each kernels_*.cc.
#pragma once
#include "compute/cpu/kernel_tile.h"
// tile first: the others are built on it
#include "compute/cpu/kernel_linear.h"
#include "compute/cpu/kernel_rows.h"
// rows before attention, for exp
#include "compute/cpu/kernel_attention.h"

namespace npr::compute {
namespace {
constexpr Kernels table{isa_name, sizeof(Operand), operands, linear, attend, merge,
                        finish,   rms_norm,        rotate,   round,  swiglu};
}
}  // namespace npr::compute
