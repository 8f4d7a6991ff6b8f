#include "schedule/quota.h"

#include <algorithm>

namespace npr::schedule {

std::vector<uint32_t> deal(std::span<const Want> wants, uint32_t rows, uint64_t turn) {
  std::vector<uint32_t> got(wants.size(), 0);
  uint64_t bulk = 0;
  std::vector<size_t> hungry;
  for (size_t i = 0; i < wants.size(); ++i) {
    if (wants[i].bulk) {
      bulk += wants[i].pending;
    } else if (wants[i].pending) {
      hungry.push_back(i);
    }
  }
  // An eighth on the average over turns: of fewer than eight rows a whole one would be more.
  const auto kept = static_cast<uint32_t>(std::min<uint64_t>(bulk, (rows + turn % 8) / 8));
  uint32_t left = rows - kept;
  if (!hungry.empty()) {
    // Out of step with the turns that bulk takes a row more in, or it would always be the same one that misses it.
    const uint64_t first = bulk ? turn - turn / 8 : turn;
    std::ranges::rotate(hungry, hungry.begin() + static_cast<ptrdiff_t>(first % hungry.size()));
  }
  // Even shares, what one does not need going to the others, until nobody is hungry or nothing is left.
  while (left && !hungry.empty()) {
    const uint32_t share = std::max<uint32_t>(1, left / static_cast<uint32_t>(hungry.size()));
    std::erase_if(hungry, [&](size_t i) {
      const uint32_t some = std::min({share, wants[i].pending - got[i], left});
      got[i] += some;
      left -= some;
      return got[i] == wants[i].pending;
    });
  }
  left += kept;
  for (size_t i = 0; i < wants.size() && left; ++i) {
    if (!wants[i].bulk) continue;
    got[i] = std::min(wants[i].pending, left);
    left -= got[i];
  }
  return got;
}

}  // namespace npr::schedule
