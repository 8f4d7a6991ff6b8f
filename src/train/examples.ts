import type { Task } from './tasks/task.js';

export interface Example {
  question: string;
  answer: string;
  system?: string | undefined;
  response?: string | undefined;
  /** That it was made from, if it was. */
  task?: Task | undefined;
}
