/** Responses as readable text, a file a step: a step that is done again replaces its own. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A response as people read it. */
export interface Trace {
  question: string;
  /** The right one. */
  answer: string;
  /** What it got and what it took, in words. */
  verdict: string;
  text: string;
}

export function writeTraces(folder: string, name: string, traces: readonly Trace[]): void {
  if (traces.length === 0) return;
  mkdirSync(folder, { recursive: true });
  const parts = traces.map(({ question, answer, verdict, text }) =>
    [`question: ${question}`, `answer: ${answer}`, verdict, rule, text, ''].join('\n'),
  );
  writeFileSync(join(folder, `${name}.txt`), parts.join(`\n${'='.repeat(100)}\n\n`));
}

const rule = '-'.repeat(100);
