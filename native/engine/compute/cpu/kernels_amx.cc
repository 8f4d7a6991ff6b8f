#include "compute/cpu/kernels.h"

#if defined(__AMX_BF16__) && defined(__AMX_INT8__) && defined(__AVX512BF16__)
#include "compute/cpu/simd_avx512.h"
// the kernels below are written over what the line above defines
#include "compute/cpu/kernels_table.h"
// what tiles do better
#include "compute/cpu/tile_instructions.h"
// instructions before tiles
#include "compute/cpu/tile_amx.h"
// tiles first: the others are built on them
#include "compute/cpu/kernel_amx.h"
#include "compute/cpu/kernel_int8_amx.h"
#include "compute/cpu/kernel_linear_backward_amx.h"
#include "compute/cpu/kernel_softmax_amx.h"
// softmax before attention
#include "compute/cpu/kernel_attention_amx.h"
#include "compute/cpu/kernel_attention_backward_amx.h"

namespace npr::compute {
namespace {
constexpr Kernels with_tiles() {
  Kernels out = table;
  out.name = "amx_bf16";
  out.bf16_linear = {.depth = table.bf16_linear.depth,
                     .block_rows = 512,
                     .operand_row_bytes = arranged_row_bytes,
                     .operands = nullptr,
                     .tile_rows = amx_tile_rows,
                     .tile_panels = amx_tile_panels,
                     .arrange = arrange,
                     .least_arranged = 0,
                     .multiply = amx_linear<Bf16Tiles>};
  out.int8_linear.block_rows = 512;
  out.int8_linear.tile_rows = amx_tile_rows;
  out.int8_linear.tile_panels = amx_tile_panels;
  out.int8_linear.arrange = arrange_groups;
  out.int8_linear.multiply = amx_linear<Int8Tiles>;
  out.gradient_rows = amx_gradient_rows;
  out.gradient_columns = amx_gradient_columns;
  out.attend = amx_attend;
  out.attend_backward = amx_attend_backward;
  return out;
}
constexpr Kernels amx_table = with_tiles();
}  // namespace
}  // namespace npr::compute

const npr::compute::Kernels* npr::compute::amx_kernels() { return &npr::compute::amx_table; }
#else
const npr::compute::Kernels* npr::compute::amx_kernels() { return nullptr; }
#endif
