#include "compute/cpu/linear.h"

#include <algorithm>

#include "error.h"

namespace npr::compute {
namespace {

constexpr uint32_t most_task_panels = 16;
constexpr uint32_t most_block_rows = 512;
constexpr uint32_t few_rows = 16;
// Work (products, or elements to convert) under which waking the threads costs more than it brings.
constexpr size_t least_products = size_t{1} << 18;
constexpr size_t least_elements = size_t{1} << 16;

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// A multiple of `together`. Few rows wait for memory alone, which small tasks share out more evenly.
uint32_t task_panels(uint32_t panels, uint32_t together, uint32_t rows, uint32_t blocks, uint32_t threads) {
  const uint32_t tasks = (rows <= few_rows ? 16 : 4) * threads;
  return std::min(most_task_panels / together, divide_up(divide_up(panels * blocks, tasks), together)) * together;
}

}  // namespace

Linear::Linear(ThreadPool& threads) : threads_(threads) {
  for (uint32_t t = 0; t < threads.size(); ++t) {
    sums_.emplace_back(size_t{most_task_panels} * most_block_rows * panel_columns * sizeof(float), "working memory");
  }
}

std::byte* Linear::Operands::grow(size_t bytes) {
  if (bytes > capacity) {
    pages = Pages(bytes, "working memory");
    capacity = bytes;
  }
  return pages.as<std::byte>();
}

const void* Linear::operands(const bf16* x, uint32_t rows, const PackedMatrix& w) {
  const LinearKernels& kernels = w.kernels();
  if (!kernels.operands) return x;
  const uint32_t k = w.k();
  const size_t row_bytes = kernels.operand_row_bytes(k);
  std::byte* out = converted_.grow(rows * row_bytes);
  const auto convert = [&](uint32_t row, uint32_t) { kernels.operands(x + size_t{row} * k, k, out + row * row_bytes); };
  if (size_t{rows} * k < least_elements) {
    for (uint32_t row = 0; row < rows; ++row) convert(row, 0);
  } else {
    threads_.run(rows, convert);
  }
  return out;
}

const std::byte* Linear::arrange(const std::byte* x, uint32_t rows, const Panels& w) {
  const uint32_t together = w.kernels.tile_rows(rows), parts = divide_up(rows, together);
  const size_t operand_bytes = w.kernels.operand_row_bytes(w.k), part_bytes = together * operand_bytes;
  const size_t row_bytes = w.kernels.operands ? operand_bytes : w.k * sizeof(bf16);
  std::byte* out = arranged_.grow(parts * part_bytes);
  const auto work = [&](uint32_t part, uint32_t) {
    const uint32_t first = part * together;
    w.kernels.arrange(x + first * row_bytes, std::min(together, rows - first), w.k, out + part * part_bytes);
  };
  if (size_t{rows} * w.k < least_elements) {
    for (uint32_t part = 0; part < parts; ++part) work(part, 0);
  } else {
    threads_.run(parts, work);
  }
  return out;
}

void Linear::run(const bf16* x, uint32_t rows, const PackedMatrix& w, float* out, bool add) {
  if (rows == 0) return;
  const Panels panels{w.kernels(), w.n(), w.k(), w.panel(0), w.panel_bytes(), w.scales()};
  const auto* left = static_cast<const std::byte*>(operands(x, rows, w));
  const bool arranged = w.kernels().arrange && rows >= w.kernels().least_arranged;
  multiply(arranged ? arrange(left, rows, panels) : left, rows, arranged, panels, out, add);
}

void Linear::multiply(const std::byte* x, uint32_t rows, bool arranged, const Panels& w, float* out, bool add) {
  ensure(arranged || !w.kernels.arrange || rows < w.kernels.least_arranged, "rows that are arranged");
  const size_t row_bytes = w.kernels.operand_row_bytes(w.k);
  const uint32_t panels = divide_up(w.n, panel_columns), blocks = divide_up(rows, w.kernels.block_rows);
  const uint32_t together = w.kernels.tile_rows(rows), parts = divide_up(rows, together);
  const uint32_t width = task_panels(panels, w.kernels.tile_panels(together), rows, blocks, threads_.size());
  const uint32_t columns = divide_up(panels, width);
  // Tasks of one block of rows are neighbours, so that the block stays cached.
  const uint32_t tasks = columns * blocks;
  const auto work = [&](uint32_t task, uint32_t following, uint32_t thread) {
    const uint32_t panel = task % columns * width, block = task / columns, column = panel * panel_columns;
    const uint32_t first = uint32_t(uint64_t{parts} * block / blocks) * together;
    const uint32_t end = std::min(rows, uint32_t(uint64_t{parts} * (block + 1) / blocks) * together);
    w.kernels.multiply(
        {.x = x + first * row_bytes,
         .rows = end - first,
         .k = w.k,
         .tile_rows = together,
         .arranged = arranged,
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
