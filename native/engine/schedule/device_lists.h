// The entries of rows that are at least a threshold each, listed by a backend that keeps the logits.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/policy.h"
#include "sample/candidates.h"

namespace npr::schedule {

// Thread safety: one thread at a time; read() on any.
class DeviceLists {
 public:
  // Entries that are listed of a row, 64 KB; one that has more is not listed.
  static constexpr uint32_t most = 8192;

  void clear();
  // Lists what is at least `threshold`.
  void add(const compute::PolicyRow& row, float threshold);
  // Lists the `rank` largest, and few others; rank above 0.
  void add_largest(const compute::PolicyRow& row, uint32_t rank);
  // `edits`: of all rows. The backend has policies.
  void run(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<const compute::LogitEdit> edits);

  // Of the i-th row added: whether it was listed, and its entries.
  bool listed(size_t i) const { return counts_[place_[i]] <= most; }
  void read(size_t i, sample::Candidates& out) const;

 private:
  struct Wanted {
    compute::PolicyRow row;
    uint32_t rank;  // 0: the threshold is given
    float threshold;
  };

  std::vector<Wanted> wanted_;
  // Those with a rank first: their thresholds come from maxima of groups.
  std::vector<uint32_t> place_;  // of each row added
  std::vector<compute::PolicyRow> rows_;
  std::vector<float> maxima_, thresholds_;  // [those with a rank, groups], [all]
  std::vector<uint32_t> counts_;
  std::vector<compute::LogitEntry> entries_;  // [rows, most]
};

}  // namespace npr::schedule
