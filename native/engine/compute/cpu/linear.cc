#include "compute/cpu/linear.h"

#include <algorithm>

namespace npr::compute {
namespace {

constexpr uint32_t most_task_panels = 8;
constexpr uint32_t most_block_rows = 512;
constexpr uint32_t tasks_a_thread = 8;  // so that all threads end at about the same time
// Work (products, or elements to convert) under which waking the threads costs more than it brings.
constexpr size_t least_products = size_t{1} << 18;
constexpr size_t least_elements = size_t{1} << 16;

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// Fours of panels stream side by side.
uint32_t task_panels(uint32_t panels, uint32_t threads) {
  return std::min(most_task_panels, divide_up(divide_up(panels, tasks_a_thread * threads), 4) * 4);
}

}  // namespace

Linear::Linear(ThreadPool& threads) : threads_(threads) {
  for (uint32_t t = 0; t < threads.size(); ++t) {
    sums_.emplace_back(size_t{most_task_panels} * most_block_rows * panel_columns * sizeof(float), "working memory");
  }
}

const void* Linear::operands(const bf16* x, uint32_t rows, const PackedMatrix& w) {
  const LinearKernels& kernels = w.kernels();
  if (!kernels.operands) return x;
  const uint32_t k = w.k();
  const size_t row_bytes = kernels.operand_row_bytes(k);
  if (rows * row_bytes > operand_capacity_) {
    operands_ = Pages(rows * row_bytes, "working memory");
    operand_capacity_ = rows * row_bytes;
  }
  const auto convert = [&](uint32_t row, uint32_t) {
    kernels.operands(x + size_t{row} * k, k, operands_.as<std::byte>() + row * row_bytes);
  };
  if (size_t{rows} * k < least_elements) {
    for (uint32_t row = 0; row < rows; ++row) convert(row, 0);
  } else {
    threads_.run(rows, convert);
  }
  return operands_.as<std::byte>();
}

void Linear::run(const bf16* x, uint32_t rows, const PackedMatrix& w, float* out, bool add) {
  multiply(static_cast<const std::byte*>(operands(x, rows, w)), rows,
           {w.kernels(), w.n(), w.k(), w.panel(0), w.panel_bytes(), w.scales()}, out, add);
}

void Linear::multiply(const std::byte* x, uint32_t rows, const Panels& w, float* out, bool add) {
  const size_t row_bytes = w.kernels.operand_row_bytes(w.k);
  const uint32_t panels = divide_up(w.n, panel_columns), width = task_panels(panels, threads_.size());
  const uint32_t columns = divide_up(panels, width), blocks = divide_up(rows, w.kernels.block_rows);
  // Tasks of one block of rows are neighbours, so that the block stays cached.
  const uint32_t tasks = columns * blocks;
  const auto work = [&](uint32_t task, uint32_t following, uint32_t thread) {
    const uint32_t panel = task % columns * width, block = task / columns, column = panel * panel_columns;
    const auto first = static_cast<uint32_t>(uint64_t{rows} * block / blocks);
    const auto end = static_cast<uint32_t>(uint64_t{rows} * (block + 1) / blocks);
    w.kernels.multiply(
        {.x = x + first * row_bytes,
         .rows = end - first,
         .k = w.k,
         .panels = w.data + panel * w.panel_bytes,
         .columns = std::min(width * panel_columns, w.n - column),
         .scales = w.scales ? w.scales + column : nullptr,
         .next = following < tasks ? w.data + size_t{following % columns * width} * w.panel_bytes : nullptr,
         .out = out + size_t{first} * w.n + column,
         .out_stride = w.n,
         .add = add,
         .scratch = sums_[thread].as<float>()});
  };
  if (size_t{rows} * w.n * w.k < least_products) {
    for (uint32_t task = 0; task < tasks; ++task) work(task, task + 1, 0);
  } else {
    threads_.run_ahead(tasks, work);
  }
}

}  // namespace npr::compute
