// What a block costs, so that a cut never depends on scheduling: tokens are dealt out at the fork.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "branch/branch.h"
#include "branch/lexicon.h"

namespace npr::branch {

// Tokens that the engine forces for a block of so many branches: the separator, heads (`heads` tokens in all), closings
// and the takeaway's head.
uint32_t forced_tokens(const Lexicon& lexicon, uint32_t branches, uint32_t heads);

// Tokens that each of the block's branches may add after its head; 0: the block does not fit.
// left: what the parent may still add; max_branch_tokens: 0 for no limit.
uint32_t share(const Lexicon& lexicon, std::span<const std::string> numbers, uint32_t left, uint32_t max_branch_tokens);

// Positions that a block's end takes from its branches: </step>, <takeaway> and its newline, </takeaway>.
uint32_t closing_positions(const Lexicon& lexicon);

// What the branch may still add, by tokens and by positions.
uint32_t room(const Branch& branch);

// Tokens that an open guideline needs until its block's takeaway is closed, each branch adding one; the branch's state
// is guideline or plan.
uint32_t guideline_cost(const Lexicon& lexicon, const Branch& branch);
// Tokens that a colon adds to guideline_cost() at most, by making a number of the open plan's text.
uint32_t number_cost(const Lexicon& lexicon, const Branch& branch);
// Tokens of the smallest block, <guideline> included.
uint32_t smallest_block(const Lexicon& lexicon);
// Tokens that one more plan adds to guideline_cost() at least.
uint32_t plan_cost(const Lexicon& lexicon, const Branch& branch);

// The numbers of a guideline's plans.
std::vector<std::string> plan_numbers(std::span<const std::string> plans);

}  // namespace npr::branch
