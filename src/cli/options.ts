/** Command-line options out of a settings schema. */
import { type Command, Option } from 'commander';
import type { TObject } from 'typebox';
import { type Described, expectation } from '../config/expectation.js';
import { envName, flagName } from '../config/names.js';
import { formatBytes } from '../config/units.js';

/** Adds `--config` and a flag for every setting. Values stay as typed: settings are resolved in one place for all sources. */
export function addSettings(command: Command, schema: TObject): void {
  command.addOption(
    new Option('--config <file>', `JSON file of settings, by their flags' names [env: ${envName('config')}]`),
  );
  for (const [key, property] of Object.entries(schema.properties)) {
    const setting = property as Described;
    const flag = flagName(key);
    const text = describe(key, setting);
    if (setting.type !== 'boolean') {
      command.addOption(new Option(`--${flag} <${placeholder(setting)}>`, text));
    } else {
      command.addOption(new Option(`--${flag}`, text));
      command.addOption(new Option(`--no-${flag}`, `the opposite of --${flag}`));
    }
  }
}

function describe(key: string, setting: Described): string {
  const notes = [
    setting.type === 'boolean' || (setting.type === 'string' && !setting.enum) ? '' : expectation(setting),
    setting.default === undefined ? '' : `default: ${written(setting)}`,
    `env: ${envName(key)}`,
  ];
  return `${setting.description} [${notes.filter((note) => note !== '').join('; ')}]`;
}

function written(setting: Described): string {
  if (setting.format === 'bytes') return formatBytes(Number(setting.default));
  return setting.format === 'seconds' ? `${setting.default}s` : String(setting.default);
}

function placeholder(setting: Described): string {
  if (setting.enum) return 'name';
  return (
    { bytes: 'size', seconds: 'time', path: 'dir' }[setting.format ?? ''] ??
    (setting.type === 'string' ? 'text' : 'n')
  );
}
