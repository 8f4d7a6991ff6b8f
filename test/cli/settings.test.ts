import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { envName, flagName } from '../../src/config/names.js';
import { nearest } from '../../src/config/nearest.js';
import { bundledModel, packageRoot } from '../../src/config/paths.js';
import { resolveSettings, SettingsError } from '../../src/config/resolve.js';
import { GenerateSettings, ServeSettings } from '../../src/config/settings.js';
import { formatBytes, parseBytes, parseSeconds } from '../../src/config/units.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'npr-settings-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function file(content: unknown): string {
  const path = join(directory, 'settings.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

function serve(flags: object = {}, env: Record<string, string> = {}, content?: unknown): ServeSettings {
  return resolveSettings(ServeSettings, {
    flags: { ...flags },
    env,
    file: content === undefined ? undefined : file(content),
  });
}

describe('precedence', () => {
  it('is flag, environment, file, default', () => {
    const env = { NPR_SERVE_PORT: '2', NPR_SERVE_THREADS: '2', PATH: '/bin' };
    const content = { port: 3, threads: 3, 'max-running': 3 };
    expect(serve({ port: '1' }, env, content)).toMatchObject({
      port: 1,
      threads: 2,
      maxRunning: 3,
      maxWaiting: 256,
    });
  });

  it('leaves what Kubernetes sets for a Service called npr-serve', () => {
    const env = {
      NPR_SERVE_SERVICE_HOST: '10.0.0.1',
      NPR_SERVE_SERVICE_PORT: '80',
      NPR_SERVE_PORT: 'tcp://10.0.0.1:80',
      NPR_SERVE_PORT_80_TCP_ADDR: '10.0.0.1',
      NPR_SERVE_GPU_SERVICE_HOST: '10.0.0.2',
      NPR_SERVE_GPU_PORT: 'tcp://10.0.0.2:80',
    };
    expect(serve({}, env).port).toBe(8000);
    expect(serve({}, env, { port: 9000 }).port).toBe(9000);
    expect(() => serve({}, { NPR_SERVE_PORT: 'http' })).toThrow(/^NPR_SERVE_PORT: expected an integer/);
    expect(() => serve({}, { NPR_SERVE_PORT_RANGE: '1' })).toThrow(/^unknown environment variable/);
  });

  it('holds for what is off and what is on', () => {
    expect(serve().prefixCache).toBe(true);
    expect(serve({}, { NPR_SERVE_PREFIX_CACHE: 'false' }, { 'prefix-cache': true }).prefixCache).toBe(false);
    expect(serve({ prefixCache: true }, { NPR_SERVE_PREFIX_CACHE: '0' }).prefixCache).toBe(true);
  });
});

describe('values', () => {
  it('are sizes, times and paths as people write them', () => {
    const settings = serve({ kvMemory: '1.5GiB', drainTimeout: '2m' }, {}, { 'body-limit': '512KiB' });
    expect(settings).toMatchObject({ kvMemory: 1.5 * 2 ** 30, drainTimeout: 120, bodyLimit: 2 ** 19 });
  });

  it('are bare numbers in a file too', () => {
    expect(serve({}, {}, { 'kv-memory': 2 ** 30, 'drain-timeout': 1.5 })).toMatchObject({
      kvMemory: 2 ** 30,
      drainTimeout: 1.5,
    });
  });

  it('name paths relative to where they are written', () => {
    expect(serve({ model: 'm' }).model).toBe(resolve('m'));
    expect(serve({}, {}, { model: 'm' }).model).toBe(join(directory, 'm'));
    expect(serve().model).toBe(bundledModel);
  });
});

it('weights are set like any other', () => {
  expect(serve().weights).toBe('bf16');
  expect(serve({ weights: 'int8' }).weights).toBe('int8');
  expect(serve({}, { NPR_SERVE_WEIGHTS: 'int8' }).weights).toBe('int8');
  expect(serve({}, {}, { weights: 'int8' }).weights).toBe('int8');
});

it('a GPU is taken where there is one, with the KV cache that fits it, unless told otherwise', () => {
  expect(serve().device).toBe('auto');
  expect(serve()).not.toHaveProperty('kvMemory');
  expect(serve({ device: 'cuda' }).device).toBe('cuda');
  expect(serve({}, { NPR_SERVE_DEVICE: 'cpu' }).device).toBe('cpu');
});

describe('errors name the setting, the value, what was expected and the source', () => {
  it.each<[object, Record<string, string>, unknown, RegExp]>([
    [{ device: 'gpu' }, {}, undefined, /^--device: expected "auto", "cpu" or "cuda", got "gpu"$/],
    [{ port: '70000' }, {}, undefined, /^--port: expected an integer from 0 to 65535, got "70000"$/],
    [{ port: '80.5' }, {}, undefined, /^--port: expected an integer/],
    [{ port: '' }, {}, undefined, /^--port: expected an integer/],
    [{ kvMemory: '4XB' }, {}, undefined, /^--kv-memory: expected a size .* from 1MiB to 64TiB, got "4XB"$/],
    [{ kvMemory: '4constructor' }, {}, undefined, /^--kv-memory: expected a size/],
    [{ kvMemory: '3' }, {}, undefined, /^--kv-memory: .*from 1MiB/],
    [
      { isa: 'sse' },
      {},
      undefined,
      /^--isa: expected "auto", "amx", "avx512", "avx2" or "plain", got "sse"$/,
    ],
    [{ weights: 'int4' }, {}, undefined, /^--weights: expected "bf16" or "int8", got "int4"$/],
    [{ drainTimeout: '-1s' }, {}, undefined, /^--drain-timeout: expected a time in seconds/],
    [{ model: '' }, {}, undefined, /^--model: expected a path, got ""$/],
    [
      {},
      { NPR_SERVE_THREADS: 'all' },
      undefined,
      /^NPR_SERVE_THREADS: expected an integer from 0 to 1024, got "all"$/,
    ],
    [
      {},
      { NPR_SERVE_PREFIX_CACHE: 'yes' },
      undefined,
      /^NPR_SERVE_PREFIX_CACHE: expected true or false, got "yes"$/,
    ],
    [
      {},
      { NPR_SERVE_PROT: '1' },
      undefined,
      /^unknown environment variable NPR_SERVE_PROT \(did you mean 'NPR_SERVE_PORT'\?\)$/,
    ],
    [{}, {}, { prot: 1 }, /settings\.json: unknown setting 'prot' \(did you mean 'port'\?\)$/],
    [{}, {}, { kvMemory: 1 }, /unknown setting 'kvMemory' \(did you mean 'kv-memory'\?\)$/],
    [{}, {}, { zzzz: 1 }, /unknown setting 'zzzz'$/],
    [{}, {}, { port: null }, /settings\.json: port: expected an integer from 0 to 65535, got null$/],
    [{}, {}, { port: [1] }, /port: expected an integer/],
    [{}, {}, { host: 5 }, /host: expected a non-empty string, got 5$/],
    [{}, {}, [1], /expected a JSON object of settings$/],
    [{}, {}, '{"port": 1,}', /settings\.json: .*JSON/],
  ])('%j %j %j', (flags, env, content, message) => {
    expect(() => serve(flags, env, content)).toThrow(SettingsError);
    expect(() => serve(flags, env, content)).toThrow(message);
  });

  it('and a file that is not there', () => {
    expect(() => resolveSettings(ServeSettings, { flags: {}, env: {}, file: '/no/such.json' })).toThrow(
      /settings file \/no\/such.json: .*ENOENT/,
    );
  });
});

describe('the ready-made file', () => {
  it('says what the defaults say', () => {
    const path = join(packageRoot, 'config', 'serve.json');
    expect(resolveSettings(ServeSettings, { flags: {}, env: {}, file: path })).toEqual(serve());
  });

  it('serves generate too', () => {
    const path = join(packageRoot, 'config', 'serve.json');
    expect(resolveSettings(GenerateSettings, { flags: {}, env: {}, file: path }).model).toBe(bundledModel);
  });
});

it('every setting has a description, and a default that its own schema accepts', () => {
  for (const schema of [ServeSettings, GenerateSettings]) {
    for (const [key, property] of Object.entries(schema.properties)) {
      const { description, default: value } = property as { description?: string; default?: unknown };
      expect(description, key).toBeTruthy();
      if (value === undefined) continue;
      expect(() => resolveSettings(schema, { flags: { [key]: value }, env: {} }), key).not.toThrow();
    }
  }
});

it('names convert', () => {
  expect([flagName('kvMemory'), envName('kvMemory')]).toEqual(['kv-memory', 'NPR_SERVE_KV_MEMORY']);
});

it('units convert', () => {
  expect(['4GiB', '1 KB', '7', '1.5kib', '2tib', '3b'].map(parseBytes)).toEqual([
    2 ** 32,
    1000,
    7,
    1536,
    2 ** 41,
    3,
  ]);
  expect(['', 'GiB', '-1', '1e3', '4G', '1 2'].map(parseBytes)).toEqual(Array(6).fill(undefined));
  expect(['500ms', '30s', '2m', '1h', '4'].map(parseSeconds)).toEqual([0.5, 30, 120, 3600, 4]);
  expect([2 ** 32, 512 * 2 ** 20, 1000, 1536].map(formatBytes)).toEqual(['4GiB', '512MiB', '1000B', '1536B']);
});

it('near names are found, far ones are not', () => {
  const names = ['temperature', 'top_p', 'max_tokens'];
  expect(
    ['tempreature', 'max_token', 'topp', 'zzz', 'x'.repeat(1e6)].map((name) => nearest(name, names)),
  ).toEqual(['temperature', 'max_tokens', 'top_p', undefined, undefined]);
});
