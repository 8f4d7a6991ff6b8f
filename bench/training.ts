/** Forward, backward and optimizer step of Qwen3-0.6B's shape, beside PyTorch where there is one. */
import type { ExecFileException } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { randomModel } from './models.js';
import { nativeBench } from './native_program.js';
import { output } from './process.js';
import { type Spread, spread } from './spread.js';
import { number, spreadText, table } from './table.js';

const BRANCHES = 4;
/** What is computed again; PyTorch has no less than whole layers, without which 4,096 tokens need more than 24 GB. */
const WORK = [
  { tokens: 1024, recompute: 'mlp', peers: 'none' },
  { tokens: 4096, recompute: 'layer', peers: 'layer' },
] as const;

interface TrainLine {
  type: 'train';
  round?: number;
  tokens: number;
  forward_backward_s: number;
  update_s: number;
  /** Beyond weights, gradients, masters and moments. */
  beyond_states_bytes: number;
}
type OurLine = { type: 'model'; backend: string } | (TrainLine & { limit_tokens_per_second: number });
type PeerLine = { type: 'peer'; torch: string } | TrainLine;

export interface Training {
  backend: string;
  /** PyTorch's version. */
  torch?: string | undefined;
  rounds: number;
  rows: Row[];
}
interface Row {
  tokens: number;
  recompute: string;
  ours: Figures;
  /** Of forward and backward, as the round's peak allows. */
  shareOfLimit: Spread;
  peer?: Figures & { oursOverThis: Spread };
}
interface Figures {
  /** Of a step: forward, backward and update. */
  tokensPerSecond: Spread;
  beyondStatesBytes: Spread;
}

/** `python`: of an installation with PyTorch and transformers; it measures in turns with this engine. */
export async function measureTraining(threads: number, rounds: number, python?: string): Promise<Training> {
  const directory = await randomModel('qwen3-0.6b');
  const result: Training = { backend: '', rounds, rows: [] };
  const ours = new Map<number, (TrainLine & { limit_tokens_per_second: number })[]>();
  const peer = new Map<number, TrainLine[]>();
  for (let round = 0; round < rounds; round++) {
    for (const { tokens, recompute, peers } of WORK) {
      const flags = [
        '--threads',
        String(threads),
        '--tokens',
        String(tokens),
        '--branches',
        String(BRANCHES),
      ];
      // A process's first round touches its memory first; PyTorch's has a pass before it measures, too.
      for (const line of await nativeBench<OurLine>('training_bench', [
        directory,
        '--rounds',
        '2',
        ...flags,
        '--recompute',
        recompute,
      ])) {
        if (line.type === 'model') result.backend = line.backend;
        else if (line.type === 'train' && line.round === 1)
          ours.set(tokens, [...(ours.get(tokens) ?? []), line]);
      }
      if (python === undefined) continue;
      for (const line of await torch(python, [...flags, '--recompute', peers])) {
        if (line.type === 'peer') result.torch = line.torch;
        else peer.set(tokens, [...(peer.get(tokens) ?? []), line]);
      }
    }
  }
  result.rows = WORK.map(({ tokens, recompute }) => {
    const lines = ours.get(tokens) ?? [];
    const others = peer.get(tokens);
    return {
      tokens,
      recompute,
      ours: figures(lines),
      shareOfLimit: spread(
        lines.map((line) => tokens / line.forward_backward_s / line.limit_tokens_per_second),
      ),
      ...(others === undefined
        ? {}
        : {
            peer: {
              ...figures(others),
              oursOverThis: spread(others.map((line, i) => speed(lines[i] as TrainLine) / speed(line))),
            },
          }),
    };
  });
  return result;
}

async function torch(python: string, flags: readonly string[]): Promise<PeerLine[]> {
  const program = fileURLToPath(new URL('../../../bench/peers/torch/training.py', import.meta.url));
  const all = [
    program,
    '--device',
    'cpu',
    '--shape',
    'qwen3-0.6b',
    '--update',
    '--seconds',
    '3600',
    ...flags,
  ];
  let text = '';
  try {
    text = await output(python, all);
  } catch (error) {
    // It may need more memory than there is, and is killed: its figures are missing then.
    if ((error as ExecFileException).signal !== 'SIGKILL') throw error;
    process.stdout.write(`PyTorch was killed, for want of memory as it seems: ${flags.join(' ')}\n\n`);
  }
  const lines = text.split('\n');
  return lines.flatMap((line) => (line === '' ? [] : [JSON.parse(line) as PeerLine]));
}

function speed({ tokens, forward_backward_s, update_s }: TrainLine): number {
  return tokens / (forward_backward_s + update_s);
}

function figures(lines: readonly TrainLine[]): Figures {
  return {
    tokensPerSecond: spread(lines.map(speed)),
    beyondStatesBytes: spread(lines.map(({ beyond_states_bytes }) => beyond_states_bytes)),
  };
}

export function trainingText({ backend, torch, rounds, rows }: Training): string {
  const gigabytes = ({ beyondStatesBytes }: Figures) => number(beyondStatesBytes.median / 1e9);
  return [
    `training qwen3-0.6b-random, ${BRANCHES} branches, ${backend}, ${rounds} rounds: tokens/s of forward, backward and`,
    "update, median (min to max); forward and backward alone, of the peak; GB beyond weights, gradients, masters and moments (PyTorch's",
    'of forward and backward, beyond what it held before; it computes layers again at 4,096 tokens)',
    ...(torch === undefined
      ? []
      : [`beside PyTorch ${torch} in turns: mask and positions explicit, AdamW over fp32 masters`]),
    '',
    table(
      [
        'tokens',
        'recompute',
        'tokens/s',
        'of peak',
        'GB',
        ...(torch === undefined ? [] : ['PyTorch', 'ratio', 'GB']),
      ],
      rows.map(({ tokens, recompute, ours, shareOfLimit, peer }) => [
        String(tokens),
        recompute,
        spreadText(ours.tokensPerSecond),
        `${number(100 * shareOfLimit.median)}%`,
        gigabytes(ours),
        ...(peer === undefined
          ? []
          : [spreadText(peer.tokensPerSecond), number(peer.oursOverThis.median), gigabytes(peer)]),
      ]),
    ),
  ].join('\n');
}
