/** Sizes and durations as people write them. */

const byteUnits: Record<string, number> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

const secondUnits: Record<string, number> = { '': 1, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Bytes of `512MiB`, `4GiB`, `1.5GB` or a bare count; undefined where it is none of these. */
export function parseBytes(text: string): number | undefined {
  const bytes = parse(text, byteUnits);
  return bytes === undefined ? undefined : Math.floor(bytes);
}

/** Seconds of `30s`, `500ms`, `2m` or a bare count; undefined where it is none of these. */
export function parseSeconds(text: string): number | undefined {
  return parse(text, secondUnits);
}

/** The shortest exact way to write a byte count: 4GiB, 512MiB, 1000B. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes}B`;
}

function parse(text: string, units: Record<string, number>): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = match?.[2]?.toLowerCase();
  return unit !== undefined && Object.hasOwn(units, unit)
    ? Number(match?.[1]) * (units[unit] ?? 1)
    : undefined;
}
