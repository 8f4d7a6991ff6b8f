/** Parallel texts with a fault in their form, as of a model that knows the format but from its prompt. */
import type { Draw } from './draw.js';
import type { Task } from './task.js';
import { parallelText, sequentialText } from './texts.js';

/** Each turns a valid text into one whose format score is below 0; the work in it stays right. */
const FAULTS: Readonly<Record<string, (text: string, task: Task, draw: Draw) => string>> = {
  'no block': (_, task) => sequentialText(task),
  'no takeaway': (text) => text.replace(/<takeaway>\n[\s\S]*?<\/takeaway>\n/, ''),
  'takeaway unclosed': (text) => text.replace('</takeaway>\n', ''),
  'takeaway too short': (text) => text.replace(/(<takeaway>\n)[\s\S]*?\n/, '$1so\n'),
  'takeaway before the steps': (text) =>
    text.replace(/(<\/guideline>\n)([\s\S]*?)(<takeaway>\n[\s\S]*?<\/takeaway>\n)/, '$1$3$2'),
  'a step too few': (text, _, draw) => withoutOne(text, STEP, draw),
  'a plan too few': (text, _, draw) => withoutOne(text, PLAN, draw),
  'a step unclosed': (text) => text.replace('</step>\n', ''),
  'guideline unclosed': (text) => text.replace('</guideline>\n', ''),
  'text between plans': (text, _, draw) => text.replaceAll('<plan>', `${draw.pick(WORDS)}\n<plan>`),
  'text between steps': (text, _, draw) => text.replaceAll('<step>', `${draw.pick(WORDS)}\n<step>`),
  'plans without tags': (text) => text.replace(/<\/?plan>/g, ''),
  'no box': (text, task) => text.replace(`\\boxed{${task.answer}}`, task.answer),
};

export const FAULT_NAMES = Object.keys(FAULTS);

const STEP = /<step>\n[\s\S]*?<\/step>\n/g;
const PLAN = /<plan>[^<]*<\/plan>\n/g;
const WORDS = ['so', 'an', 'in line', 'step by step'];

/** With one fault, drawn evenly; `fault` names it instead. */
export function imperfectText(task: Task, draw: Draw, fault = draw.pick(FAULT_NAMES)): string {
  return (FAULTS[fault] as (typeof FAULTS)[string])(parallelText(task), task, draw);
}

function withoutOne(text: string, pattern: RegExp, draw: Draw): string {
  const left = draw.integer(0, (text.match(pattern)?.length ?? 1) - 1);
  let i = 0;
  return text.replace(pattern, (part) => (i++ === left ? '' : part));
}
