#include "common/peak_memory.h"

#include <fstream>
#include <string>

#include "error.h"

namespace npr::bench {

void reset_peak_resident() { std::ofstream("/proc/self/clear_refs") << "5"; }  // proc(5)

uint64_t peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    uint64_t kibibytes = 0;
    if (key == "VmHWM:" && status >> kibibytes) return kibibytes * 1024;
  }
  throw Error(ErrorCode::internal, "/proc/self/status: expected VmHWM, found none");
}

}  // namespace npr::bench
