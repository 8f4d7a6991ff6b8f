import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MetricsFile, type MetricsRecord } from '../../../src/train/log/metrics_file.js';
import { crc32c, EventFile } from '../../../src/train/log/tensorboard.js';
import { writeTraces } from '../../../src/train/log/trace_files.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'npr-log-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const one = (stage: string, step: number, more: Partial<MetricsRecord> = {}): MetricsRecord => ({
  stage,
  kind: 'train',
  step,
  time: 1000 + step,
  metrics: { reward: step / 8 },
  ...more,
});

describe('metrics.jsonl', () => {
  it('has a flat line a record, and is read back', () => {
    const path = join(directory, 'a.jsonl');
    const file = new MetricsFile(path);
    file.append(one('zero', 1));
    file.append(one('zero', 1, { kind: 'validation' }));
    expect(readFileSync(path, 'utf8').split('\n')[0]).toBe(
      '{"stage":"zero","kind":"train","step":1,"time":1001,"reward":0.125}',
    );
    expect(new MetricsFile(path).records).toEqual(file.records);
  });

  it('forgets what will be done again, and a line that was cut off', () => {
    const path = join(directory, 'b.jsonl');
    const file = new MetricsFile(path);
    const records = [
      one('base', 9),
      one('zero', 0, { kind: 'validation' }),
      ...[1, 2, 3].map((i) => one('zero', i)),
    ];
    for (const record of records) file.append(record);
    appendFileSync(path, '{"stage":"zero","kind":"tr');
    const again = new MetricsFile(path);
    expect(again.records).toEqual(records);
    again.rewind('zero', 2);
    expect(again.records).toEqual(records.slice(0, 4));
    again.append(one('zero', 3));
    expect(new MetricsFile(path).records).toEqual([...records.slice(0, 4), one('zero', 3)]);
    again.rewind('zero', -1);
    expect(new MetricsFile(path).records).toEqual(records.slice(0, 1));
    again.rewind('papo', -1);
    expect(again.records).toHaveLength(1);
    // another stage may have run in between
    for (const record of [one('zero', 1), one('papo', 1)]) again.append(record);
    again.rewind('zero', 0);
    expect(again.records).toEqual([records[0], one('papo', 1)]);
    expect(new MetricsFile(path).records).toEqual(again.records);
  });
});

/** As TensorBoard reads it: records, then fields of protocol buffers. */
function events(path: string) {
  const bytes = readFileSync(path);
  const list = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(masked(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(masked(data));
    const top = fields(data);
    const values = fields(first(top, 5) as Buffer | undefined)
      .get(1)
      ?.map((value) => {
        const scalar = fields(value as Buffer);
        return [String(first(scalar, 1)), (first(scalar, 2) as Buffer).readFloatLE()];
      });
    list.push({
      time: (first(top, 1) as Buffer).readDoubleLE(),
      step: first(top, 2),
      version: top.get(3)?.map(String)[0],
      values: values && Object.fromEntries(values),
    });
    at += 16 + length;
  }
  return list;
}

function first(message: ReturnType<typeof fields>, number: number): Buffer | number | undefined {
  return message.get(number)?.[0];
}

/** As the format says, in its own way. */
function masked(data: Uint8Array): number {
  const crc = BigInt(crc32c(data));
  return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
}

function fields(data: Buffer = Buffer.alloc(0)): Map<number, (Buffer | number)[]> {
  const found = new Map<number, (Buffer | number)[]>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = data[at++] as number;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = varint();
    const kind = key & 7;
    const length = kind === 2 ? varint() : kind === 1 ? 8 : 4;
    const value = kind === 0 ? varint() : data.subarray(at, at + length);
    if (kind !== 0) at += length;
    found.set(key >> 3, [...(found.get(key >> 3) ?? []), value]);
  }
  return found;
}

describe('TensorBoard files', () => {
  it("use CRC-32C: the standard's check value", () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa); // RFC 3720, B.4
  });

  it('hold a version and a scalar for each metric of each record', () => {
    const folder = join(directory, 'board');
    new EventFile(folder, [one('zero', 7)]);
    const file = new EventFile(folder, [one('zero', 1)]);
    file.append(one('zero', 300, { kind: 'validation', metrics: { accuracy: 0.5, tokens: 1e6 } }));
    const [name = '', ...more] = readdirSync(folder);
    expect(more).toEqual([]);
    expect(name).toMatch(/^events\.out\.tfevents\.1001\./);
    expect(events(join(folder, name))).toEqual([
      { time: 1001, step: 0, version: 'brain.Event:2', values: undefined },
      { time: 1001, step: 1, version: undefined, values: { 'train/reward': 0.125 } },
      {
        time: 1300,
        step: 300,
        version: undefined,
        values: { 'validation/accuracy': 0.5, 'validation/tokens': 1e6 },
      },
    ]);
  });
});

it('responses are readable text', () => {
  const folder = join(directory, 'traces');
  writeTraces(folder, 'none', []);
  const trace = { question: 'What is 1+1?', answer: '2', verdict: 'right', text: '<guideline>\n...' };
  writeTraces(folder, 'step-000001', [trace, trace]);
  expect(readdirSync(folder)).toEqual(['step-000001.txt']);
  const text = readFileSync(join(folder, 'step-000001.txt'), 'utf8');
  expect(text).toMatch(/^question: What is 1\+1\?\nanswer: 2\nright\n-+\n<guideline>\n\.\.\.\n\n=+\n/);
});
