/** One figure of the report: a panel a stage, side by side over one scale, as SVG. */
import { short } from './lines.js';

export interface Point {
  step: number;
  value: number;
}

export interface Series {
  label: string;
  /** Of the classes that the page styles. */
  colour: 1 | 2 | 3 | 4 | 5;
  points: readonly Point[];
}

export interface Panel {
  title: string;
  steps: number;
  series: readonly Series[];
}

const height = 190;
const plot = { left: 56, right: 108, top: 26, bottom: 30 };
const panelWidth = 250;
const gap = 10;

/** Empty where no panel has a point. */
export function chart(title: string, panels: readonly Panel[]): string {
  const values = panels.flatMap(({ series }) =>
    series.flatMap(({ points }) => points.map(({ value }) => value)),
  );
  if (values.length === 0) return '';
  const ticks = niceTicks(Math.min(...values), Math.max(...values));
  const [low = 0, high = 1] = [ticks[0], ticks.at(-1)];
  const bottom = height - plot.bottom;
  const y = (value: number) => bottom - ((value - low) / (high - low)) * (bottom - plot.top);
  const each = panelWidth + plot.right;
  const width = plot.left + panels.length * (each + gap);
  const parts = ticks.map((tick) => label(plot.left - 6, y(tick) + 4, short(tick), 'end'));
  for (const [i, panel] of panels.entries()) {
    const left = plot.left + i * (each + gap);
    const x = (step: number) => left + (step / Math.max(1, panel.steps)) * panelWidth;
    for (const tick of ticks) parts.push(line(left, y(tick), left + panelWidth, y(tick), 'grid'));
    parts.push(label(left, 14, panel.title, 'start', 'stage'));
    parts.push(label(left, height - 10, '0', 'start'));
    parts.push(label(left + panelWidth, height - 10, `step ${panel.steps}`, 'end'));
    const ends = spread(
      panel.series.filter(({ points }) => points.length > 0).map((one) => ({ one, at: y(lastOf(one)) })),
    );
    for (const { one, at } of ends) {
      parts.push(curve(one, x, y));
      const name = panel.series.length > 1 ? `${one.label} ` : '';
      parts.push(
        label(left + panelWidth + 5, at + 4, name + short(lastOf(one)), 'start', `end c${one.colour}`),
      );
    }
  }
  return `<figure><figcaption>${escaped(title)}</figcaption><svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">${parts.join('')}</svg></figure>`;
}

export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** From at most `low` to at least `high`, at steps of 1, 2 or 5 times a power of ten. */
export function niceTicks(low: number, high: number): number[] {
  const range = high > low ? high - low : Math.abs(high) || 1;
  const magnitude = 10 ** Math.floor(Math.log10(range / 4));
  const step = ([1, 2, 5].find((factor) => range / (factor * magnitude) <= 5) ?? 10) * magnitude;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Many points are a thin line of what was, and a thick one of their moving mean. */
function curve(
  { points, colour }: Series,
  x: (step: number) => number,
  y: (value: number) => number,
): string {
  const path = (list: readonly Point[]) =>
    list
      .map(({ step, value }, i) => `${i === 0 ? 'M' : 'L'}${x(step).toFixed(1)} ${y(value).toFixed(1)}`)
      .join('');
  const few = points.length <= 40;
  const lines = few
    ? `<path class="line c${colour}" d="${path(points)}"/>`
    : `<path class="raw c${colour}" d="${path(thinned(points))}"/><path class="line c${colour}" d="${path(thinned(smoothed(points)))}"/>`;
  const dots = points.length > 24 ? [] : points;
  return (
    lines +
    dots
      .map(
        ({ step, value }) =>
          `<circle class="c${colour}" cx="${x(step).toFixed(1)}" cy="${y(value).toFixed(1)}" r="2.5"/>`,
      )
      .join('')
  );
}

function smoothed(points: readonly Point[]): Point[] {
  const reach = Math.max(1, Math.round(points.length / 40));
  return points.map(({ step }, i) => {
    const near = points.slice(Math.max(0, i - reach), i + reach + 1);
    return { step, value: near.reduce((sum, { value }) => sum + value, 0) / near.length };
  });
}

/** At most some hundred points, the last one among them: more than a screen shows. */
function thinned(points: readonly Point[]): Point[] {
  const every = Math.ceil(points.length / 400);
  return points.filter((_, i) => (points.length - 1 - i) % every === 0);
}

function lastOf({ points }: Series): number {
  return points.at(-1)?.value ?? 0;
}

/** Moves labels apart that would cover each other. */
function spread<T extends { at: number }>(labels: T[]): T[] {
  const sorted = labels.toSorted((a, b) => a.at - b.at);
  for (const [i, one] of sorted.entries()) {
    const above = sorted[i - 1];
    if (above !== undefined && one.at < above.at + 12) one.at = above.at + 12;
  }
  return sorted;
}

function line(x1: number, y1: number, x2: number, y2: number, kind: string): string {
  return `<line class="${kind}" x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}"/>`;
}

function label(x: number, y: number, text: string, anchor: string, kind = 'tick'): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(text)}</text>`;
}
