// From a model in memory back to a checkpoint.
#pragma once
#include <cstdint>
#include <filesystem>

#include "model/checkpoint_writer.h"
#include "model/model.h"

namespace npr::model {

// Writes the weights that `model` computes with, bit for bit (norms, which it holds as floats, rounded to bf16), into
// an existing directory, as CheckpointWriter does. Takes a megabyte or two of memory.
void save_weights(Model& model, const std::filesystem::path& directory, uint64_t shard_bytes = usual_shard_bytes);

}  // namespace npr::model
