// Everything that one instruction set compiles, as its table. Included last by each kernels_*.cc.
#pragma once
#include "compute/cpu/kernel_tile.h"
// tile first: the others are built on it
#include "compute/cpu/kernel_linear.h"
// linear before int8
#include "compute/cpu/kernel_int8.h"
#include "compute/cpu/kernel_rows.h"
// rows before left operands and before attention: parts of rows, and exp
#include "compute/cpu/kernel_attention.h"
#include "compute/cpu/kernel_attention_backward.h"
#include "compute/cpu/kernel_left.h"
#include "compute/cpu/kernel_linear_backward.h"
#include "compute/cpu/kernel_rows_backward.h"

namespace npr::compute {
namespace {
constexpr Kernels table{isa_name,
                        sizeof(Operand),
                        operands,
                        float_operands,
                        {Bf16Weights::depth, block_rows, Bf16Weights::row_bytes, nullptr, linear_tile_rows,
                         linear_tile_panels, arrange_by_step, least_arranged, linear<Bf16Weights>},
                        {quant_depth, block_rows, Int8Weights::row_bytes, quantize, linear_tile_rows,
                         linear_tile_panels, nullptr, 0, linear<Int8Weights>},
                        weight_bias,
                        attend,
                        merge,
                        finish,
                        rms_norm,
                        rotate,
                        round,
                        swiglu,
                        gradient_rows,
                        gradient_columns,
                        gradient_panels,
                        attend_backward,
                        add,
                        rms_norm_backward,
                        rotate_backward,
                        swiglu_backward};
}
}  // namespace npr::compute
