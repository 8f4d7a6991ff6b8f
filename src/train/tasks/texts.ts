/** Tasks written out. */
import { render } from '../../parallel/render.js';
import type { BlockInput, SegmentInput } from '../../parallel/segments.js';
import type { Round, Task } from './task.js';

/** One line of thought: plans, steps and takeaways without tags. */
export function sequentialText(task: Task): string {
  const numbered = (texts: readonly string[]) => texts.map((text, i) => `${i + 1}: ${text}`);
  return [
    ...task.blocks.flatMap(({ plans, steps, takeaway }) => [
      ...numbered(plans),
      ...numbered(steps),
      takeaway,
    ]),
    task.final,
  ].join('\n');
}

/** In canonical form, valid without penalty. */
export function parallelText(task: Task): string {
  const newline: SegmentInput = { type: 'text', text: '\n' };
  return render([
    ...task.blocks.flatMap((round) => [blockOf(round), newline]),
    { type: 'text', text: task.final },
  ]);
}

function blockOf({ plans, steps, takeaway }: Round): BlockInput {
  return {
    type: 'block',
    plans: plans.map((text, i) => ({ number: String(i + 1), text })),
    branches: steps.map((text) => ({ text })),
    takeaway,
  };
}
