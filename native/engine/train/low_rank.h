// The algebra of LoRA: W [rows, columns] = base + scale b [rows, rank] . a [rank, columns]. Arrays are row-major in
// host memory; every sum has one order whatever the thread count.
#pragma once
#include <cstdint>

#include "compute/backend.h"

namespace npr::train {

struct LowRank {
  uint32_t rows, columns, rank;
  float scale;
  const float *a, *b;
};

// w [rows, columns] = base + scale b . a
void merge(compute::Backend& backend, const LowRank& factors, const uint16_t* base, float* w);

// From dw [rows, columns], the gradient with respect to W: da [rank, columns] += scale b^T . dw,
// db [rows, rank] += scale dw . a^T.
void project(compute::Backend& backend, const LowRank& factors, const float* dw, float* da, float* db);

}  // namespace npr::train
