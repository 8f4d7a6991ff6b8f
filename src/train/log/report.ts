/** The run as one page: a table of its validations and curves of all that was measured. Needs no network. */
import { chart, escaped, type Series } from './chart.js';
import { short } from './lines.js';
import type { MetricsRecord } from './metrics_file.js';

interface Figure {
  title: string;
  /** By label: what it shows of training steps, and of validations. */
  lines: { label: string; kind: MetricsRecord['kind']; metric: string }[];
}

const train = (metric: string, label = 'training') => ({ label, kind: 'train' as const, metric });
const held = (metric: string, label = 'validation') => ({ label, kind: 'validation' as const, metric });

const FIGURES: readonly Figure[] = [
  { title: 'Reward', lines: [train('reward'), held('reward')] },
  { title: 'Accuracy', lines: [train('accuracy'), held('accuracy')] },
  { title: 'Responses of valid format', lines: [train('valid'), held('valid')] },
  { title: 'Responses with parallel branches', lines: [train('parallel'), held('parallel')] },
  { title: 'Branches of a response', lines: [train('branches'), held('branches')] },
  { title: 'Tokens of a response', lines: [train('tokens'), held('tokens')] },
  { title: 'Critical path, tokens', lines: [train('critical_path'), held('critical_path')] },
  { title: 'Loss', lines: [train('loss')] },
  { title: 'Entropy, nats', lines: [train('entropy')] },
  { title: 'Gradient norm', lines: [train('gradient_norm')] },
  { title: 'Mismatch of log-probabilities, rollout and training', lines: [train('mismatch')] },
  { title: 'Learning rate', lines: [train('lr')] },
  {
    title: 'Tokens a second',
    lines: [train('rollout_tokens_per_s', 'rollout'), train('train_tokens_per_s', 'training')],
  },
  {
    title: 'Seconds of a step',
    lines: ['rollout', 'forward', 'backward', 'update', 'other'].map((phase) => train(`${phase}_s`, phase)),
  },
  { title: 'Share of a step outside these phases', lines: [train('other_share')] },
];

const COLUMNS = {
  accuracy: 'accuracy',
  solved: 'solved by any sample',
  valid: 'valid format',
  parallel: 'parallel',
  branches: 'branches',
  tokens: 'tokens',
  critical_path: 'critical path',
} as const;

export function report(title: string, records: readonly MetricsRecord[], settings: object): string {
  const stages = [...new Set(records.map(({ stage }) => stage))].map((stage) => {
    const own = records.filter((record) => record.stage === stage);
    return { stage, own, steps: Math.max(...own.map(({ step }) => step)) };
  });
  const figures = FIGURES.map((figure) =>
    chart(
      figure.title,
      stages.map(({ stage, own, steps }) => ({ title: stage, steps, series: seriesOf(figure, own) })),
    ),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title><style>${STYLE}</style></head><body>
<h1>${escaped(title)}</h1>
${table(stages)}
${figures.join('\n')}
<details><summary>Settings</summary><pre>${escaped(JSON.stringify(settings, null, 2))}</pre></details>
</body></html>
`;
}

function seriesOf({ lines }: Figure, records: readonly MetricsRecord[]): Series[] {
  return lines.map(({ label, kind, metric }, i) => ({
    label,
    colour: (i + 1) as Series['colour'],
    points: records.flatMap(({ kind: of, step, metrics }) => {
      const value = metrics[metric];
      return of === kind && value !== undefined ? [{ step, value }] : [];
    }),
  }));
}

/** Each stage's first validation and its last. */
function table(stages: readonly { stage: string; own: readonly MetricsRecord[] }[]): string {
  const rows = stages.flatMap(({ stage, own }) => {
    const validations = own.filter(({ kind }) => kind === 'validation');
    return [...new Set([validations.at(0), validations.at(-1)])].flatMap((record) => {
      if (record === undefined) return [];
      const cells = Object.keys(COLUMNS).map((name) => {
        const value = record.metrics[name];
        return `<td>${value === undefined ? '' : short(value)}</td>`;
      });
      return [`<tr><th>${escaped(stage)}</th><td>${record.step}</td>${cells.join('')}</tr>`];
    });
  });
  if (rows.length === 0) return '';
  const heads = Object.values(COLUMNS).map((name) => `<th>${name}</th>`);
  return `<table><caption>Validation: the first and the last of each stage, means over all samples</caption>
<thead><tr><th>stage</th><th>step</th>${heads.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1c1c1a; --soft: #6b6a66; --grid: #e4e3df; --page: #fcfcfb;
  --c1: #2a78d6; --c2: #d9541e; --c3: #1b8a5a; --c4: #8a5cc2; --c5: #8a8984; }
@media (prefers-color-scheme: dark) { :root { --ink: #ecebe7; --soft: #a3a29c; --grid: #3a3a37; --page: #1a1a19;
  --c1: #5598e7; --c2: #f08050; --c3: #3fb984; --c4: #ab86dd; --c5: #96958f; } }
body { margin: 24px; background: var(--page); color: var(--ink); font: 14px/1.4 system-ui, sans-serif; }
h1 { font-size: 20px; }
figure { margin: 20px 0; overflow-x: auto; }
figcaption, caption { font-weight: 600; text-align: left; padding: 4px 0; }
table { border-collapse: collapse; }
th, td { padding: 3px 12px 3px 0; text-align: right; border-bottom: 1px solid var(--grid); font-variant-numeric: tabular-nums; }
th:first-child { text-align: left; }
text { font: 11px system-ui, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
text.stage { fill: var(--ink); font-weight: 600; }
.grid { stroke: var(--grid); }
path { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
path.raw { stroke-width: 1; opacity: 0.35; }
${[1, 2, 3, 4, 5].map((i) => `path.c${i} { stroke: var(--c${i}); } circle.c${i}, text.c${i} { fill: var(--c${i}); }`).join('\n')}
pre { overflow-x: auto; }
`;
