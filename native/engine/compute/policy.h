// Distributions over the vocabulary, and draws from them, where the logits lie: for backends that keep them away from
// the host's memory.
//
// A row's distribution is the softmax of scale * (edited logits), natural logarithms throughout. Logits that are not
// finite count as minus infinity. Bits are those of sample/: chunks of 4,096 entries counted from token 0, each summed
// in 16 interleaved sums of fp32 in units of its own maximum, and merged in order in fp64.
#pragma once
#include <cstdint>
#include <span>

namespace npr::compute {

// What becomes of a token's logit. A row's edits come in turns, of which each knows a token once at most: first those
// that multiply, then those that add.
struct LogitEdit {
  int32_t token;
  float value;
};
// The logit is divided by `value` where it is positive, and multiplied by it where not: two repetition penalties. Then
// `value` is added: what frequency and presence cost, a bias; minus infinity: the token can't come.
constexpr uint32_t multiplying_turns = 2, edit_turns = 6;

struct PolicyRow {
  enum class Token : uint8_t {
    given,    // `token`
    drawn,    // the first at which the cumulative distribution, in order of ids, exceeds `uniform`
    largest,  // of the largest logit, the lowest id among equals
  };
  uint32_t row;  // of the logits
  Token which;
  int32_t token;
  float scale;     // 1 / temperature
  double uniform;  // in [0, 1)
  // Of the list of edits: where the row's begin, and where each turn ends.
  uint32_t edits_begin;
  uint32_t edits_end[edit_turns];
};

struct PolicyValue {
  int32_t token;
  float logit;   // of the token, edited
  float max;     // of the finite ones; minus infinity: there is none, and nothing else is said
  double total;  // sum of exp((logit - max) * scale); 0 for `largest`
};

// Entries of a group, from token 0 on, and how many groups there are.
constexpr uint32_t group_entries = 128;
constexpr uint32_t groups_of(uint32_t vocab) { return (vocab + group_entries - 1) / group_entries; }

// An entry of a row, edited.
struct LogitEntry {
  int32_t token;
  float logit;
};

// A token of the row with this index among those given.
struct LogitPick {
  uint32_t row;
  int32_t token;
};

// What becomes of a row: gradient(j) = factor * exp((logit(j) - max) * scale), and `slope` more at its token.
struct PolicySlope {
  float factor, slope;
  bool wanted;  // false: the row becomes zeros, and is not looked at
};

// Thread safety: as its backend. Calls wait for their results.
class Policies {
 public:
  virtual ~Policies() = default;
  // values[i] of rows[i] of logits [.., vocab], a device array.
  virtual void look(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                    std::span<const LogitEdit> edits, std::span<PolicyValue> values) = 0;
  // maxima [rows, groups]: of each group of rows[i], edited, the largest finite logit; minus infinity where there is
  // none.
  virtual void group_maxima(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                            std::span<const LogitEdit> edits, std::span<float> maxima) = 0;
  // Of rows[i], edited, the finite entries that are at least thresholds[i], in order of ids: counts[i] is their number,
  // entries [rows, most] has the first `most` of them.
  virtual void collect(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                       std::span<const LogitEdit> edits, std::span<const float> thresholds, uint32_t most,
                       std::span<uint32_t> counts, std::span<LogitEntry> entries) = 0;
  // logits_of[i]: of picks[i], edited; it need not be finite.
  virtual void gather(const float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                      std::span<const LogitEdit> edits, std::span<const LogitPick> picks,
                      std::span<float> logits_of) = 0;
  // distances[i]: sum of exp((logit - max) * scale) * (logit - max) over rows[i], whose values look() gave. With
  // `replace`, gradients take the place of the logits.
  virtual void differentiate(float* logits, uint32_t vocab, std::span<const PolicyRow> rows,
                             std::span<const LogitEdit> edits, std::span<const PolicyValue> values,
                             std::span<const PolicySlope> slopes, bool replace, std::span<double> distances) = 0;
};

}  // namespace npr::compute
