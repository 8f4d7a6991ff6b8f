/** Prefill and decode of the engine alone, beside what the machine allows. */
import { engineBench, type Figure, type Line, type StartupLine } from './native_program.js';
import { type Spread, spread } from './spread.js';
import { number, percent, spreadText, table } from './table.js';

export interface Speed {
  model: string;
  backend: string;
  parameters: number;
  trunkTokens: number;
  tokensPerBranch: number;
  rounds: number;
  machine: { bytesPerSecond: Spread; flopsPerSecond: Spread };
  startup: Startup[];
  prefill: Row;
  decode: Row[];
  /** The same work with int8 weights, where it was measured. */
  int8: Int8Row[];
}

/** From the files, which the system has in its cache, to a model in memory. */
interface Startup {
  weights: 'bf16' | 'int8';
  seconds: Spread;
  /** Of reading the files alone, once, by one thread. */
  readSeconds: Spread;
  fileBytes: number;
  peakResidentBytes: Spread;
}

/** Prefill where there are no branches. */
interface Int8Row {
  branches: number;
  tokensPerSecond: Spread;
  /** Tokens per second over those of bf16 weights in the same round. */
  timesBf16: Spread;
}

interface Row {
  branches: number;
  tokensPerSecond: Spread;
  limitTokensPerSecond: Spread;
  shareOfLimit: Spread;
  shareOfBandwidth: Spread;
  shareOfPeak: Spread;
  /** Tokens per second over those of one branch in the same round. */
  timesOne: Spread;
}

const trunk = 512;

export async function measureSpeed(model: string, directory: string, options: Options): Promise<Speed> {
  const { threads, rounds, tokens, weights } = options;
  const loads = (await engineBench('startup', directory, { threads, rounds, weights })).filter(
    (line) => line.type === 'startup',
  );
  const lines = await engineBench('speed', directory, { ...options, trunk, branches: '1,2,4,8,16' });
  const of = <T extends Line['type']>(type: T) =>
    lines.filter((line): line is Extract<Line, { type: T }> => line.type === type);
  const figures = (type: 'prefill' | 'decode', weights: Figure['weights']) =>
    of(type).filter((figure) => figure.weights === weights);
  const [info] = of('model');
  const machine = of('machine');
  const decode = figures('decode', 'bf16');
  const prefill = figures('prefill', 'bf16');
  if (info === undefined) throw new Error('engine_bench told nothing of the model');
  const row = (figures: Figure[]): Row => {
    const inRound = (figure: Figure) => machine.find(({ round }) => round === figure.round);
    const one = (figure: Figure) =>
      decode.find(({ round, branches }) => round === figure.round && branches === 1)?.tokens_per_second;
    const each = (value: (figure: Figure) => number) => spread(figures.map(value));
    return {
      branches: figures[0]?.branches ?? 0,
      tokensPerSecond: each((figure) => figure.tokens_per_second),
      limitTokensPerSecond: each((figure) => figure.limit_tokens_per_second),
      shareOfLimit: each((figure) => figure.tokens_per_second / figure.limit_tokens_per_second),
      shareOfBandwidth: each(
        (figure) => figure.bytes_per_second / (inRound(figure)?.bytes_per_second ?? Number.NaN),
      ),
      shareOfPeak: each(
        (figure) => figure.flops_per_second / (inRound(figure)?.flops_per_second ?? Number.NaN),
      ),
      timesOne: each((figure) => figure.tokens_per_second / (one(figure) ?? Number.NaN)),
    };
  };
  const int8Row = (branches: number, figures: Figure[], bf16: Figure[]): Int8Row => {
    const times = (figure: Figure) =>
      figure.tokens_per_second /
      (bf16.find(({ round }) => round === figure.round)?.tokens_per_second ?? Number.NaN);
    return {
      branches,
      tokensPerSecond: spread(figures.map((figure) => figure.tokens_per_second)),
      timesBf16: spread(figures.map(times)),
    };
  };
  const int8Rows = (): Int8Row[] => {
    const of8 = figures('decode', 'int8');
    const inBranches = (all: Figure[], count: number) => all.filter(({ branches }) => branches === count);
    return [
      int8Row(0, figures('prefill', 'int8'), prefill),
      ...counts.map((count) => int8Row(count, inBranches(of8, count), inBranches(decode, count))),
    ];
  };
  const counts = [...new Set(decode.map(({ branches }) => branches))];
  return {
    model,
    backend: info.backend,
    parameters: info.parameters,
    trunkTokens: trunk,
    tokensPerBranch: tokens,
    rounds: machine.length,
    machine: {
      bytesPerSecond: spread(machine.map((line) => line.bytes_per_second)),
      flopsPerSecond: spread(machine.map((line) => line.flops_per_second)),
    },
    startup: weights.split(',').map((format) => startupOf(loads.filter((load) => load.weights === format))),
    prefill: row(prefill),
    decode: counts.map((count) => row(decode.filter(({ branches }) => branches === count))),
    int8: options.weights === 'bf16,int8' ? int8Rows() : [],
  };
}

function startupOf(loads: StartupLine[]): Startup {
  return {
    weights: loads[0]?.weights ?? 'bf16',
    seconds: spread(loads.map((load) => load.seconds)),
    readSeconds: spread(loads.map((load) => load.read_seconds)),
    fileBytes: loads[0]?.file_bytes ?? 0,
    peakResidentBytes: spread(loads.map((load) => load.peak_resident_bytes)),
  };
}

export interface Options {
  threads: number;
  rounds: number;
  tokens: number;
  weights: 'bf16' | 'bf16,int8';
}

export function speedText(speed: Speed): string {
  const { machine, prefill } = speed;
  const giga = ({ median, min, max }: Spread) =>
    spreadText({ median: median / 1e9, min: min / 1e9, max: max / 1e9 });
  const rows = [{ name: `prefill of ${speed.trunkTokens}`, row: prefill }].concat(
    speed.decode.map((row) => ({
      name: decodeName(row.branches),
      row,
    })),
  );
  return [
    `${speed.model}: ${number(speed.parameters / 1e6)}M parameters, ${speed.backend}`,
    `one prompt of ${speed.trunkTokens} tokens, ${speed.tokensPerBranch} tokens a branch, ${speed.rounds} rounds: median (min to max)`,
    `machine: reads ${giga(machine.bytesPerSecond)} GB/s, bf16 ${giga(machine.flopsPerSecond)} GFLOP/s`,
    '',
    table(
      ['', 'tokens/s', 'times one', 'limit', 'of limit', 'of bandwidth', 'of peak'],
      rows.map(({ name, row }, i) => [
        name,
        spreadText(row.tokensPerSecond),
        i === 0 ? '' : number(row.timesOne.median),
        number(row.limitTokensPerSecond.median),
        percent(row.shareOfLimit.median),
        i === 0 ? '' : percent(row.shareOfBandwidth.median),
        percent(row.shareOfPeak.median),
      ]),
    ),
  ].join('\n');
}

/** Memory is what the process had resident at most while it loaded. */
export function startupText({ startup }: Speed): string {
  const giga = (bytes: number) => number(bytes / 1e9);
  return table(
    ['load', 'seconds', 'reading alone', 'file GB', 'memory GB'],
    startup.map(({ weights, seconds, readSeconds, fileBytes, peakResidentBytes }) => [
      `${weights} weights`,
      spreadText(seconds),
      spreadText(readSeconds),
      giga(fileBytes),
      giga(peakResidentBytes.median),
    ]),
  );
}

/** Of a model that was measured with both. */
export function int8Text({ int8 }: Speed): string {
  return table(
    ['int8 weights', 'tokens/s', 'times bf16'],
    int8.map(({ branches, tokensPerSecond, timesBf16 }) => [
      branches === 0 ? `prefill of ${trunk}` : decodeName(branches),
      spreadText(tokensPerSecond),
      spreadText(timesBf16),
    ]),
  );
}

function decodeName(branches: number): string {
  return `decode, ${branches} branch${branches > 1 ? 'es' : ''}`;
}

/** What a model that is read from memory should reach at least. */
export function floorsText({ prefill, decode }: Speed): string {
  const branches = (count: number) => decode.find((row) => row.branches === count);
  const floors: [what: string, share: number, floor: number, text: (value: number) => string][] = [
    ['one stream, of measured bandwidth', branches(1)?.shareOfBandwidth.median ?? Number.NaN, 0.6, percent],
    ['8 branches, times one stream', branches(8)?.timesOne.median ?? Number.NaN, 5, number],
    ['prefill of 512, of measured bf16 peak', prefill.shareOfPeak.median, 0.35, percent],
  ];
  return table(
    ['floor', 'asked', 'found', ''],
    floors.map(([what, found, floor, text]) => [
      what,
      text(floor),
      text(found),
      found >= floor ? 'met' : 'missed',
    ]),
  );
}
