/** What the main thread of a process has computed: in Node.js, all JavaScript and the system calls that it makes. */
import { readFileSync } from 'node:fs';

/** Seconds of processor time; the kernel counts in hundredths. */
export interface ThreadTime {
  user: number;
  system: number;
}

export function mainThreadTime(pid: number): ThreadTime {
  const stat = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'utf8');
  // proc(5): the fields after the program's name, which may contain anything, begin with the third.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { user: Number(fields[14 - 3]) / 100, system: Number(fields[15 - 3]) / 100 };
}
