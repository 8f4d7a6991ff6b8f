/** The built server as a child process. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

export interface RunningServer {
  url: string;
  port: number;
  pid: number;
  stop(): Promise<void>;
}

/** Resolves once the model is loaded; rejects where the server ends before. */
export function startServer(flags: readonly string[]): Promise<RunningServer> {
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await exit;
  };
  return new Promise((resolve, reject) => {
    void exit.then(() => reject(new Error('the server ended before it was ready')));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const url = / is ready at (http:\/\/\S+)/.exec(line)?.[1];
      if (url !== undefined)
        resolve({ url, port: Number(new URL(url).port), pid: child.pid as number, stop });
    });
  });
}

/** Of a chat, as the server's tokenizer has it. */
export async function promptTokens({ url }: RunningServer, chat: object): Promise<number[]> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...chat, return_token_ids: true }),
  });
  const answer = (await response.json()) as { prompt_token_ids?: number[] };
  if (!response.ok || !answer.prompt_token_ids) throw new Error(`the server answers ${response.status}`);
  return answer.prompt_token_ids;
}
