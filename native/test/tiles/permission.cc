// Whether there are tiles in software, in place of the engine's question whether the machine has them.
#include <cstdlib>

#include "compute/cpu/tiles.h"

bool npr::compute::may_use_tiles() { return std::getenv("NPR_SOFTWARE_TILES") != nullptr; }
