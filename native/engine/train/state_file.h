// Everything that the next step depends on, in a file, bit for bit.
#pragma once
#include <filesystem>

#include "train/optimizer.h"
#include "train/parameter_store.h"

namespace npr::train {

// A safetensors file: masters and moments as F32 under "master.", "exp_avg." and "exp_avg_sq." before the tensors'
// names, what is frozen as BF16 under "frozen.", and the options with the count of steps as metadata. Gradients are not
// kept.

// Throws Error(invalid_request) where the file can't be written; what had its name before stays then.
void save_state(const std::filesystem::path& path, ParameterStore& store, const Optimizer& optimizer);

// Restores it, clears the gradients and makes the engine's weights anew. Throws Error(invalid_request) where the state
// is that of other options or other shapes, naming what differs, Error(invalid_checkpoint) where the file is damaged;
// in both cases nothing has changed.
void load_state(const std::filesystem::path& path, ParameterStore& store, Optimizer& optimizer);

}  // namespace npr::train
