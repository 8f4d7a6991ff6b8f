#include "train/packing.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace npr::train {

namespace {

uint32_t size(const Rows& rows) { return static_cast<uint32_t>(rows.tokens.size()); }

// Appends rows that lie at flat index `first` of a sequence whose prompt is at row `prompt_row` and whose response is
// at row `response_row`.
void append(MicroBatch& out, const Rows& rows, uint32_t prompt, uint32_t prompt_row, uint32_t response_row) {
  const auto add_run = [&](compute::Path& path, uint32_t begin, uint32_t end) {
    if (begin < std::min(end, prompt)) path.push_back({prompt_row + begin, std::min(end, prompt) - begin});
    if (std::max(begin, prompt) < end) {
      const uint32_t from = std::max(begin, prompt);
      path.push_back({response_row + from - prompt, end - from});
    }
  };
  model::Batch& batch = out.batch;
  for (uint32_t i = 0; i < rows.tokens.size(); ++i) {
    batch.slots.push_back(batch.rows());
    batch.tokens.push_back(rows.tokens[i]);
    batch.positions.push_back(rows.positions[i]);
  }
  for (const auto& piece : rows.pieces) {
    compute::Path& path = out.paths.emplace_back();
    for (const auto& [begin, end] : piece.context) add_run(path, begin, end);
    add_run(path, piece.begin, piece.end);
    uint32_t length = 0;
    for (const auto& run : path) length += run.count;
    batch.sequences.push_back({path, length, piece.end - piece.begin});
  }
}

}  // namespace

std::vector<std::span<const Prepared>> split(std::span<const Prepared> trajectories, uint32_t most_rows,
                                             uint32_t slots) {
  std::vector<std::span<const Prepared>> out;
  most_rows = std::min(most_rows, slots);
  size_t first = 0;
  uint64_t rows = 0;
  for (size_t i = 0; i < trajectories.size(); ++i) {
    const Prepared& next = trajectories[i];
    if (next.rows() > slots) {
      throw Error(ErrorCode::invalid_request, "a trajectory takes " + std::to_string(next.rows()) +
                                                  " tokens with its prompt; the KV pool has " + std::to_string(slots) +
                                                  " slots");
    }
    const bool shares = i > first && trajectories[i - 1].prompt == next.prompt;
    const uint64_t more = shares ? size(next.response) : next.rows();
    if (i > first && rows + more > most_rows) {
      out.push_back(trajectories.subspan(first, i - first));
      first = i;
      rows = next.rows();
    } else {
      rows += more;
    }
  }
  if (first < trajectories.size()) out.push_back(trajectories.subspan(first));
  return out;
}

MicroBatch pack(std::span<const Prepared> trajectories) {
  MicroBatch out;
  const Rows* prompt = nullptr;
  uint32_t prompt_row = 0;
  for (const Prepared& next : trajectories) {
    const uint32_t length = size(*next.prompt);
    if (next.prompt.get() != prompt) {
      prompt = next.prompt.get();
      prompt_row = out.batch.rows();
      append(out, *prompt, length, prompt_row, prompt_row + length);
    }
    const uint32_t response_row = out.batch.rows();
    append(out, next.response, length, prompt_row, response_row);
    out.trajectories.push_back({&next, prompt_row, response_row});
  }
  return out;
}

}  // namespace npr::train
