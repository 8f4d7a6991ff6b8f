// The optimizer's step on the host's threads; what it computes depends neither on their number nor on the instruction
// set.
#pragma once
#include <cstddef>

#include "compute/backward.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// As in Backward.
void zero(ThreadPool& threads, float* x, size_t count);
double sum_of_squares(ThreadPool& threads, const float* x, size_t count);
void adamw(ThreadPool& threads, const AdamWStep& step, size_t count, float* masters, float* gradients,
           float* first_moments, float* second_moments);

}  // namespace npr::compute
