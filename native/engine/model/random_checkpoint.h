// Model directories with random weights, for tests and benchmarks: any shape, no tokenizer.
#pragma once
#include <cstdint>
#include <filesystem>

#include "model/checkpoint_writer.h"
#include "model/config.h"

namespace npr::model {

// The shape of Qwen3-0.6B: 596,049,920 parameters, 1.2 GB as bf16.
Config qwen3_600m();
// The shape of Qwen3-4B: 4,022,468,096 parameters, 8.0 GB as bf16.
Config qwen3_4b();
// So small that it stays in the caches and a step is mostly overhead: 4,984,832 parameters.
Config qwen3_tiny();

// Writes config.json and bf16 weights into `directory`, new or empty: matrices uniform with variance 1 / columns, so
// that activations keep their scale, norms uniform in [0.9, 1.1]. Equal arguments give equal files. Shards of
// up to `shard_bytes` where the whole is larger. A second and a half of processor time per gigabyte, over all cores,
// beside the disk's own time. Throws Error(invalid_request) where it can't be written.
void write_random_checkpoint(const std::filesystem::path& directory, const Config& config, uint64_t seed,
                             uint64_t shard_bytes = usual_shard_bytes);

}  // namespace npr::model
