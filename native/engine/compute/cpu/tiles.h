// Whether this process may use AMX's tiles.
#pragma once

namespace npr::compute {

// The machine has AMX-BF16 and AMX-INT8, and its kernel lends this process the memory that tiles are saved in, which is
// asked for here: threads that start later have it, too.
bool may_use_tiles();

}  // namespace npr::compute
