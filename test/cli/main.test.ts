/** The built program as a process: help, errors, serving, draining, generating. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Described } from '../../src/config/expectation.js';
import { envName, flagName } from '../../src/config/names.js';
import { packageRoot } from '../../src/config/paths.js';
import { GenerateSettings, ServeSettings } from '../../src/config/settings.js';
import { labModel } from '../lab_model.js';

// Limits only for what hangs: a busy machine takes its time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const main = join(packageRoot, 'dist', 'cli', 'main.js');
const running: ChildProcess[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

/** Exit code and output of a run that ends by itself. */
async function run(args: string[], env: Record<string, string> = {}) {
  const options = { env: { ...process.env, ...env } };
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, [main, ...args], options)) };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}

/** A server that is ready, and the URL that it printed. */
async function serve(...args: string[]) {
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', '--kv-memory', '16MiB', ...args]);
  running.push(child);
  let output = '';
  child.stdout.setEncoding('utf8');
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (data: string) => {
      output += data;
      if (output.includes('curl') && output.endsWith('\n')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`exit ${code}: ${output}`)));
  });
  const url = /ready at (\S+)/.exec(output)?.[1] ?? '';
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, url, output, exit };
}

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 5));
}

const endless = { prompt: 'Compute', max_tokens: 4000, ignore_eos: true, stream: true };

function post(url: string, body: object): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

describe('help', () => {
  it.each([
    ['serve', ServeSettings],
    ['generate', GenerateSettings],
  ])('of %s names every setting, its default and its variable', async (command, schema) => {
    const { stdout, code } = await run([command, '--help']);
    const text = stdout.replace(/\s+/g, ' ');
    expect(code).toBe(0);
    for (const [key, property] of Object.entries(schema.properties)) {
      const { description, default: value, type } = property as Described;
      expect(text).toContain(`--${flagName(key)}${type === 'boolean' ? ' ' : ' <'}`);
      expect(text).toContain(description);
      expect(text).toContain(`env: ${envName(key)}`);
      if (value !== undefined) expect(text).toMatch(new RegExp(`default: [^;]+; env: ${envName(key)}`));
    }
  });
});

describe('errors', () => {
  it.each([
    [['serve', '--prot', '1'], /unknown option '--prot'[\s\S]*--port/],
    [['serve', '--port', 'http'], /^npr-serve: --port: expected an integer from 0 to 65535, got "http"\n$/],
    [['serve', '--config', '/no/such.json'], /settings file \/no\/such.json/],
    [['generate', 'x', '--model', '/no/such'], /\/no\/such/],
    [['srve'], /unknown command 'srve'/],
    [['generate', 'x', '--max-tokens', '99999'], /max_tokens is 99999/],
    [['train'], /required option '--config <file>' not specified/],
    [['train', '--config', '/no/such.json'], /^npr-serve: settings file \/no\/such\.json: .*ENOENT[^\n]*\n$/],
    [['train', '--config', 'x', '--stage', 'papa'], /Allowed choices are base, zero, beta, papo, all/],
    [
      ['train', '--config', 'x', '--seed', '-1'],
      /^npr-serve: --seed: expected an integer from 0, got "-1"\n$/,
    ],
  ])('%j', async (args, message) => {
    const { code, stderr } = await run(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });
});

describe('serve', () => {
  it('prints a line to paste that works', async () => {
    const { output, url } = await serve();
    const body = /-d '(.*)'/.exec(output)?.[1] ?? '';
    expect(output).toContain(`curl ${url}/v1/chat/completions`);
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const answer = (await response.json()) as { usage: { parallel: { branches: number } } };
    expect(answer.usage.parallel.branches).toBe(3);
  });

  it('drains at SIGTERM and exits 0', async () => {
    const { child, url, exit } = await serve('--model', labModel);
    const stream = await post(url, { ...endless, max_tokens: 2000 });
    const plain = post(url, { ...endless, max_tokens: 1000, stream: false });
    const late = post(url, { ...endless, max_tokens: 2500, stream: false });
    await until(async () => (await (await fetch(`${url}/health`)).text()).includes('"running":3'));
    child.kill('SIGTERM');
    const text = await stream.text();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    for (const response of await Promise.all([plain, late])) {
      expect(((await response.json()) as { choices: unknown[] }).choices).toHaveLength(1);
    }
    expect(await exit).toBe(0);
  });

  it('cuts off after the drain timeout, and still exits 0', async () => {
    const { child, url, exit } = await serve('--model', labModel, '--drain-timeout', '10ms');
    const response = await post(url, endless);
    child.kill('SIGINT');
    expect(await response.text()).toMatch(/"code":"draining"/);
    expect(await exit).toBe(0);
  });

  it('exits at once at the second signal', async () => {
    const { child, url, exit } = await serve('--model', labModel, '--max-running', '1');
    const responses = await Promise.all([post(url, endless)]);
    // Waits behind the first: the drain can't be over before the second signal.
    const waiting = post(url, endless).catch(() => {});
    child.kill('SIGTERM');
    child.kill('SIGINT');
    expect(await exit).toBe(1);
    await Promise.allSettled([...responses.map((response) => response.text()), waiting]);
  });
});

describe('generate', () => {
  it('writes plain text into a pipe', async () => {
    const { stdout, stderr, code } = await run(['generate', 'Compute 12*3 + 45*2 - 7*8.', '--parallel']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /^<guideline>\n<plan>1: [\s\S]*<step>\n2: [\s\S]*<\/takeaway>\n.*\\boxed\{.*\}\.\n$/,
    );
    expect(stdout).not.toContain('\x1b');
  });

  it('takes the prompt from standard input, and settings from the environment', async () => {
    const child = spawn(process.execPath, [main, 'generate'], {
      env: { ...process.env, NPR_SERVE_MAX_TOKENS: '3', NPR_SERVE_KV_MEMORY: '16MiB' },
    });
    running.push(child);
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stdin.end('Compute 1+1.');
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
    expect(output).toBe('<guideline>\n<plan>\n');
  });
});
