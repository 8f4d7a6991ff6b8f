#include "branch/prompt.h"

#include <string>

#include "error.h"

namespace npr::branch {

Prompt read_prompt(const Request& request, const Lexicon& lexicon, uint32_t max_positions) {
  Prompt out;
  Layout& layout = out.layout;
  layout = request.parallel.enabled ? parallel_layout(request.prompt, lexicon.vocabulary())
                                    : plain_layout(static_cast<uint32_t>(request.prompt.size()));
  // Branches share positions, so it is the layout that tells how much of the context a prompt takes.
  if (static_cast<uint64_t>(layout.next_position) + (request.max_tokens ? 1 : 0) > max_positions) {
    throw Error(ErrorCode::context_length,
                "the prompt takes " + std::to_string(layout.next_position) +
                    " positions and leaves no room for a response; the model's context has " +
                    std::to_string(max_positions));
  }
  // Elsewhere a tag is an ordinary token, and the response read back would have no structure.
  if (request.parallel.enabled && request.max_tokens && !layout.in_turn) {
    throw Error(ErrorCode::invalid_request,
                "the prompt does not end in an assistant's turn; parallel reasoning needs one, as a chat "
                "template opens it");
  }
  const State state = layout.machine.state();
  const bool in_branches = state == State::between || state == State::step || state == State::closed;
  if (request.max_tokens && (in_branches || layout.machine.depth() > 1)) {
    throw Error(ErrorCode::invalid_request,
                "the prompt ends among the branches of an open block; expected it to end on the trunk");
  }
  if (request.sampling.repetition_penalty != 1.0f) {
    for (const int32_t token : request.prompt) out.counts.add(token);
  }
  out.start = {
      .machine = layout.machine, .plain = layout.plain, .guideline = {}, .next_position = layout.next_position};
  if (layout.machine.depth()) out.start.guideline = read_guideline(lexicon, request.prompt, layout.open_block);
  return out;
}

}  // namespace npr::branch
