// Wall time.
#pragma once
#include <chrono>
#include <utility>

namespace npr::train {

class Stopwatch {
 public:
  // Milliseconds since it was made or last asked.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(from_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point from_ = std::chrono::steady_clock::now();
};

}  // namespace npr::train
