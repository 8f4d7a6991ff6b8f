/** Checks segments that a client sent, beyond what their JSON schema says. */
import { MAX_DEPTH, parse } from './parse.js';
import { branchText, render } from './render.js';
import type { Block, BlockInput, BranchInput, SegmentInput } from './segments.js';
import { hasTags } from './tags.js';

export class SegmentError extends Error {
  /** Of the faulty member, as in `segments[1].branches[0].text`. */
  readonly path: string;

  constructor(path: string, message: string) {
    super(`${path}: ${message}`);
    this.name = 'SegmentError';
    this.path = path;
  }
}

/** Throws a SegmentError where the segments' flat text would not be read back as these segments. */
export function validate(segments: readonly SegmentInput[], path = 'segments'): void {
  checkBlocks(segments, path, 1);
  const blocks = parse(render(segments)).filter((segment) => segment.type === 'block');
  let found = 0;
  for (const [i, segment] of segments.entries()) {
    if (segment.type !== 'block') continue;
    if (blocks[found]?.text !== render([segment]))
      throw new SegmentError(
        `${path}[${i}]`,
        'is not read back: it is not closed, or an unmatched tag precedes it',
      );
    found++;
  }
}

function checkBlocks(segments: readonly SegmentInput[], path: string, depth: number): void {
  if (depth > MAX_DEPTH) throw new SegmentError(path, `blocks are nested deeper than ${MAX_DEPTH}`);
  for (const [i, segment] of segments.entries())
    if (segment.type === 'block') checkBlock(segment, `${path}[${i}]`, depth);
}

function checkBlock(block: BlockInput, path: string, depth: number): void {
  for (const [i, branch] of (block.branches ?? []).entries())
    checkBranch(branch, `${path}.branches[${i}]`, depth);
  if (block.text !== undefined) checkView(block, block.text, path);
  else checkParts(block, path);
}

/** Written by hand: the parts have to make one block. */
function checkParts(block: BlockInput, path: string): void {
  const { plans, branches, takeaway } = block;
  if (plans === undefined || branches === undefined || takeaway === undefined || takeaway === null)
    throw new SegmentError(path, 'a block needs its text, or plans, branches and a takeaway');
  if (plans.length === 0) throw new SegmentError(`${path}.plans`, 'a block has at least one plan');
  if (branches.length !== plans.length)
    throw new SegmentError(
      `${path}.branches`,
      `${count(branches.length, 'branch', 'branches')} for ${count(plans.length, 'plan', 'plans')}`,
    );
  for (const [i, plan] of plans.entries()) noTags(plan.text, `${path}.plans[${i}].text`);
  noTags(takeaway, `${path}.takeaway`);
  const [read, ...more] = parse(render([block]));
  if (read?.type !== 'block' || more.length > 0)
    throw new SegmentError(path, 'is not read back as one block');
  sameNumbers(block, read, path);
}

function checkBranch(branch: BranchInput, path: string, depth: number): void {
  const { text, segments } = branch;
  if (segments !== undefined) {
    checkBlocks(segments, `${path}.segments`, depth + 1);
    if (text !== undefined && text !== render(segments))
      throw new SegmentError(`${path}.text`, 'differs from the segments beside it; leave one of them out');
  } else if (text === undefined) {
    throw new SegmentError(path, 'a branch needs text or segments');
  }
  if (parse(branchText(branch)).some((segment) => segment.type === 'text' && hasTags(segment.text)))
    throw new SegmentError(
      `${path}.${segments ? 'segments' : 'text'}`,
      'has a tag that belongs to no block in it',
    );
}

/** The block's own text decides; plans, branches and takeaway beside it have to be what it says. */
function checkView(block: BlockInput, text: string, path: string): void {
  const [read, ...more] = parse(text);
  if (read?.type !== 'block' || more.length > 0)
    throw new SegmentError(`${path}.text`, 'is not exactly one block, from <guideline> to </takeaway>');
  const differs = (member: string) =>
    new SegmentError(`${path}.${member}`, "differs from the block's text; leave one of them out");
  if (block.plans !== undefined) {
    if (block.plans.length !== read.plans.length) throw differs('plans');
    for (const [i, plan] of block.plans.entries())
      if (plan.text !== read.plans[i]?.text) throw differs(`plans[${i}].text`);
  }
  if (block.branches !== undefined) {
    if (block.branches.length !== read.branches.length) throw differs('branches');
    for (const [i, branch] of block.branches.entries())
      if (branchText(branch) !== read.branches[i]?.text) throw differs(`branches[${i}].text`);
  }
  if (block.takeaway !== undefined && block.takeaway !== read.takeaway) throw differs('takeaway');
  sameNumbers(block, read, path);
}

function sameNumbers(block: BlockInput, read: Block, path: string): void {
  const check = (given: string | undefined, expected: string | undefined, where: string) => {
    if (given !== undefined && given !== expected)
      throw new SegmentError(
        `${path}.${where}.number`,
        `${JSON.stringify(given)}, but the text says "${expected}"`,
      );
  };
  for (const [i, plan] of (block.plans ?? []).entries())
    check(plan.number, read.plans[i]?.number, `plans[${i}]`);
  for (const [i, branch] of (block.branches ?? []).entries())
    check(branch.number, read.branches[i]?.number, `branches[${i}]`);
}

function noTags(text: string, path: string): void {
  if (hasTags(text)) throw new SegmentError(path, 'holds a tag');
}

function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}
