/**
 * TensorBoard event files: TFRecords (length, masked CRC-32C of it, data, masked CRC-32C of that) of Event messages, written by
 * hand after tensorboard/compat/proto/event.proto and summary.proto.
 */
import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { MetricsRecord } from './metrics_file.js';

export class EventFile {
  readonly #path: string;

  /** One file in `folder`, with the records that there are. What an earlier part of the run wrote there is replaced. */
  constructor(folder: string, records: readonly MetricsRecord[]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const time = records[0]?.time ?? Date.now() / 1000;
    this.#path = join(folder, `events.out.tfevents.${Math.floor(time)}.npr-serve`);
    appendFileSync(this.#path, record(event(time, 0, field(3, text('brain.Event:2')))));
    for (const one of records) this.append(one);
  }

  append({ kind, step, time, metrics }: MetricsRecord): void {
    const values = Object.entries(metrics).map(([name, value]) =>
      field(1, Buffer.concat([field(1, text(`${kind}/${name}`)), float(2, value)])),
    );
    appendFileSync(this.#path, record(event(time, step, field(5, Buffer.concat(values)))));
  }
}

/** `wall_time`, `step` and one of `what`. */
function event(time: number, step: number, what: Buffer): Buffer {
  const wallTime = Buffer.alloc(9);
  wallTime[0] = (1 << 3) | 1; // field 1, 64 bits
  wallTime.writeDoubleLE(time, 1);
  return Buffer.concat([wallTime, varint(2 << 3), varint(step), what]);
}

function record(data: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([length, maskedCrc(length), data, maskedCrc(data)]);
}

/** A field of bytes, text or a message. */
function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(content.length), content]);
}

function float(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = (number << 3) | 5; // 32 bits
  bytes.writeFloatLE(value, 1);
  return bytes;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function text(value: string): Buffer {
  return Buffer.from(value);
}

/** Of CRC-32C (Castagnoli), reflected. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function maskedCrc(data: Buffer): Buffer {
  const crc = crc32c(data);
  const masked = ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(masked);
  return bytes;
}
