/** One setting, three spellings: `kvMemory`, `--kv-memory` (also the key in a file), `NPR_SERVE_KV_MEMORY`. */

export const envPrefix = 'NPR_SERVE_';

export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export function envName(key: string): string {
  return envPrefix + key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
