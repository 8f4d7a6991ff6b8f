// LoRA's products on the host's threads; every sum has one order whatever their number.
#pragma once
#include "compute/backward.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// As Backward::low_rank_add() and Backward::low_rank().
void add_low_rank(ThreadPool& threads, const LowRank& factors, float* w);
void low_rank_gradients(ThreadPool& threads, const LowRank& factors, const float* g, float* da, float* db);

}  // namespace npr::compute
