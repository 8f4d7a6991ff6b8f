import { type ExecFileOptions, execFile } from 'node:child_process';

/** What a program prints on standard output; rejects with what it prints on standard error where it fails. */
export function output(
  program: string,
  flags: readonly string[],
  options: ExecFileOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, flags, { ...options, encoding: 'utf8' }, (error, stdout, stderr) => {
      if (error) reject(Object.assign(error, { message: stderr.trim() || error.message }));
      else resolve(stdout);
    });
  });
}
