/** Tables for a terminal: columns as wide as their widest cell, numbers to the right. */
import type { Spread } from './spread.js';

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ');
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}

/** Three digits, as `0.123`, `12.3` or `1234`. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return value.toFixed(Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.abs(value) || 1)))));
}

/** `12.3 (11.9 to 12.6)`. */
export function spreadText({ median, min, max }: Spread): string {
  return `${number(median)} (${number(min)} to ${number(max)})`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(0)}%`;
}
