/** Settings from their sources: a flag beats an environment variable, that a file, that the default. */
import { readFileSync } from 'node:fs';
import { dirname, resolve as resolvePath } from 'node:path';
import type { Static, TObject, TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { type Described, expectation } from './expectation.js';
import { envName, envPrefix, flagName } from './names.js';
import { suggestion } from './nearest.js';
import { GenerateSettings, ServeSettings } from './settings.js';
import { parseBytes, parseSeconds } from './units.js';

/** A setting that can't be used; the message names the setting, its value, what was expected and where it came from. */
export class SettingsError extends Error {
  override name = 'SettingsError';
}

export interface Sources {
  /** By setting (`kvMemory`), as typed. */
  flags: Record<string, unknown>;
  env: NodeJS.ProcessEnv;
  /** Path of a JSON file; the flag `--config` or NPR_SERVE_CONFIG. */
  file?: string | undefined;
}

interface Given {
  value: unknown;
  /** For messages: `--port`, `NPR_SERVE_PORT`, `serve.json: port`. */
  from: string;
  /** What relative paths are relative to. */
  base: string;
}

/** Throws a SettingsError. */
export function resolveSettings<T extends TObject>(schema: T, sources: Sources): Static<T> {
  const fromFile = sources.file === undefined ? new Map<string, Given>() : readFile(sources.file);
  refuseUnknownVariables(sources.env);
  const settings: Record<string, unknown> = {};
  for (const [key, property] of Object.entries(schema.properties)) {
    const given = fromFlag(key, sources) ?? fromEnv(key, sources) ?? fromFile.get(flagName(key));
    const value = given ? convert(property, given) : (property as Described).default;
    if (value !== undefined) settings[key] = value;
  }
  return settings as Static<T>;
}

/** All settings there are, so that one file or environment may serve several commands. */
const known = new Set([
  ...Object.keys(ServeSettings.properties),
  ...Object.keys(GenerateSettings.properties),
]);

function fromFlag(key: string, sources: Sources): Given | undefined {
  const value = sources.flags[key];
  return value === undefined ? undefined : { value, from: `--${flagName(key)}`, base: process.cwd() };
}

function fromEnv(key: string, { env }: Sources): Given | undefined {
  const value = env[envName(key)];
  return value === undefined || isServiceLink(envName(key), value)
    ? undefined
    : { value, from: envName(key), base: process.cwd() };
}

/**
 * Kubernetes gives the containers beside a Service called npr-serve, or npr-serve-gpu, such variables:
 * NPR_SERVE_PORT=tcp://10.0.0.1:80, NPR_SERVE_PORT_80_TCP, NPR_SERVE_GPU_SERVICE_HOST. None is a setting.
 */
function isServiceLink(name: string, value: string | undefined): boolean {
  if (/_PORT$/.test(name) && /^(tcp|udp|sctp):/.test(value ?? '')) return true;
  return /_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)/.test(name);
}

function refuseUnknownVariables(env: NodeJS.ProcessEnv): void {
  const names = new Set([...known].map(envName).concat(envName('config')));
  for (const name of Object.keys(env)) {
    if (name.startsWith(envPrefix) && !names.has(name) && !isServiceLink(name, env[name])) {
      throw new SettingsError(`unknown environment variable ${name}${suggestion(name, names)}`);
    }
  }
}

function readFile(path: string): Map<string, Given> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new SettingsError(
      `settings file ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new SettingsError(`settings file ${path}: expected a JSON object of settings`);
  }
  const names = [...known].map(flagName);
  const base = dirname(resolvePath(path));
  const given = new Map<string, Given>();
  for (const [name, value] of Object.entries(parsed)) {
    if (!names.includes(name)) {
      throw new SettingsError(`settings file ${path}: unknown setting '${name}'${suggestion(name, names)}`);
    }
    given.set(name, { value, from: `${path}: ${name}`, base });
  }
  return given;
}

function convert(property: TSchema, given: Given): unknown {
  const schema = property as Described;
  const value = typeof given.value === 'string' ? fromText(schema, given.value, given.base) : given.value;
  if (value === undefined || !Check(property, value)) {
    throw new SettingsError(
      `${given.from}: expected ${expectation(schema)}, got ${JSON.stringify(given.value)}`,
    );
  }
  return value;
}

/** undefined where the text can't be one; the schema checks the rest. */
function fromText(schema: Described, text: string, base: string): unknown {
  if (schema.format === 'bytes') return parseBytes(text);
  if (schema.format === 'seconds') return parseSeconds(text);
  if (schema.format === 'path') return text === '' ? text : resolvePath(base, text);
  if (schema.type === 'boolean') return { true: true, false: false, '1': true, '0': false }[text];
  if (schema.type === 'integer' || schema.type === 'number') {
    return /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : undefined;
  }
  return text;
}
