/** The ways to write a task out. */
import type { Draw } from './draw.js';
import { imperfectText } from './imperfect.js';
import type { Task } from './task.js';
import { parallelText, sequentialText } from './texts.js';

export type TextKind = 'sequential' | 'parallel' | 'imperfect';

/** `draw` decides on the fault of an imperfect text. */
export function taskText(task: Task, kind: TextKind, draw: Draw): string {
  if (kind === 'sequential') return sequentialText(task);
  return kind === 'parallel' ? parallelText(task) : imperfectText(task, draw);
}
