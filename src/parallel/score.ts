/** The format score of a response: 0 where it is strictly valid, else a penalty down to -2. */
import { lastBoxed } from '../answers/boxed.js';
import { TagMachine } from './machine.js';
import { lex } from './tags.js';

export const EMPTY_RESPONSE = -2;
export const NO_STRUCTURE = -1.5;
export const BROKEN_STRUCTURE = -1;

/** What one block is charged for. Lengths are in characters that are no whitespace. */
interface BlockFaults {
  betweenPlans: number;
  betweenSteps: number;
  plans: number[];
  steps: number[];
  takeaway: number;
}

/**
 * In [-2, 0]; whitespace is ignored throughout. No block, or a tag outside blocks: -1.5. A block that does not follow
 * the grammar, a tag after the last block, or no answer in `\boxed{}`: -1. Otherwise each block is charged for text
 * between its plans (0.4 and 0.2) or its steps (0.2), and for each plan under 3 characters, step under 6 and takeaway
 * under 6 (0.4).
 */
export function formatScore(response: string): number {
  if (response.trim() === '') return EMPTY_RESPONSE;
  const extent = blockExtent(response);
  if (extent === 'none' || extent === 'tag outside') return NO_STRUCTURE;
  const faults = readBlocks(response);
  if (extent === 'tag after' || faults === undefined || (lastBoxed(response) ?? '').trim() === '')
    return BROKEN_STRUCTURE;
  let penalty = 0;
  for (const block of faults) {
    if (block.betweenPlans > 0) penalty += 0.4 + 0.2;
    if (block.betweenSteps > 0) penalty += 0.2;
    penalty += 0.4 * block.plans.filter((length) => length < 3).length;
    penalty += 0.4 * block.steps.filter((length) => length < 6).length;
    if (block.takeaway < 6) penalty += 0.4;
  }
  // rounded, so that sums of tenths compare equal; never -0
  return penalty === 0 ? 0 : Math.max(-2, -Math.round(penalty * 10) / 10);
}

/** Where tags stand relative to the blocks, which reach from a `<guideline>` to the `</takeaway>` that balances it. */
function blockExtent(response: string): 'none' | 'tag outside' | 'tag after' | 'clean' {
  let depth = 0;
  let blocks = 0;
  let outside = 0; // tags since the last block
  for (const lexeme of lex(response)) {
    if (lexeme.kind === 'text') continue;
    outside++;
    if (lexeme.text === '<guideline>') {
      // tags before a block are outside; the block's own are counted until it closes
      if (depth === 0 && outside > 1) return 'tag outside';
      depth++;
    } else if (lexeme.text === '</takeaway>' && depth > 0 && --depth === 0) {
      blocks++;
      outside = 0;
    }
  }
  if (blocks === 0) return 'none';
  return outside > 0 ? 'tag after' : 'clean';
}

/** Every block's faults, nested ones included; undefined where a tag breaks the grammar. */
function readBlocks(response: string): BlockFaults[] | undefined {
  const machine = new TagMachine();
  const blocks: BlockFaults[] = [];
  const open: BlockFaults[] = [];
  for (const lexeme of lex(response)) {
    if (lexeme.kind === 'text') {
      machine.text(lexeme.text);
      const length = lexeme.text.replace(/\s/g, '').length;
      // what a nested block says is part of every step around it
      for (const outer of open.slice(0, -1)) extend(outer.steps, length);
      const block = open.at(-1);
      if (block === undefined) continue;
      if (machine.state === 'guideline') block.betweenPlans += length;
      else if (machine.state === 'plan') extend(block.plans, length);
      else if (machine.state === 'step') extend(block.steps, length);
      else if (machine.state === 'takeaway') block.takeaway += length;
      else block.betweenSteps += length;
      continue;
    }
    if (!machine.tag(lexeme.text)) return undefined;
    const block = open.at(-1);
    if (lexeme.text === '<guideline>') {
      open.push({ betweenPlans: 0, betweenSteps: 0, plans: [], steps: [], takeaway: 0 });
      blocks.push(...open.slice(-1));
    } else if (lexeme.text === '<plan>') block?.plans.push(0);
    else if (lexeme.text === '<step>') block?.steps.push(0);
    else if (lexeme.text === '</takeaway>') open.pop();
  }
  return blocks;
}

function extend(lengths: number[], length: number): void {
  lengths.push((lengths.pop() ?? 0) + length);
}
