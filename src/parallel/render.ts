/** From segments to flat text: exactly where they carry their text, canonically where they do not. */
import { leadingNumber, planNumber } from './machine.js';
import type { BlockInput, Branch, BranchInput, Segment, SegmentInput } from './segments.js';

/** The flat text. The inverse of `parse` for segments that came from it. */
export function render(segments: readonly SegmentInput[]): string {
  return segments
    .map((segment) => segment.text ?? canonicalBlock(segment as BlockInput, branchText))
    .join('');
}

/** The flat text in canonical whitespace and with every number written, whatever the segments' own text looks like. */
export function canonical(segments: readonly Segment[]): string {
  return segments
    .map((segment) =>
      segment.type === 'text'
        ? segment.text.trim()
        : canonicalBlock(segment, (branch: Branch) =>
            branch.segments === undefined ? branch.text : canonical(branch.segments),
          ),
    )
    .filter((text) => text !== '')
    .join('\n');
}

/** A branch's text, from whichever of its members holds it. */
export function branchText(branch: BranchInput): string {
  return branch.text ?? render(branch.segments ?? []);
}

function canonicalBlock<B extends BranchInput>(
  block: Omit<BlockInput, 'branches'> & { branches?: B[] | undefined },
  textOf: (branch: B) => string,
): string {
  const plans = block.plans ?? [];
  const numbers = plans.map((plan, i) => leadingNumber(plan.text) ?? plan.number ?? planNumber(plan.text, i));
  const lines = ['<guideline>'];
  for (const [i, plan] of plans.entries()) lines.push(`<plan>${numbered(plan.text, numbers[i])}</plan>`);
  lines.push('</guideline>');
  for (const [i, branch] of (block.branches ?? []).entries())
    lines.push('<step>', numbered(textOf(branch), numbers[i]), '</step>');
  lines.push('<takeaway>', block.takeaway?.trim() ?? '', '</takeaway>');
  return lines.join('\n');
}

function numbered(text: string, number: string | undefined): string {
  const trimmed = text.trim();
  if (number === undefined || leadingNumber(trimmed) === number) return trimmed;
  return `${number}:${trimmed.startsWith('<guideline>') ? '\n' : ' '}${trimmed}`.trimEnd();
}
