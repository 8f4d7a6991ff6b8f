/** Files that may be larger than the longest string, a line at a time. */
import { createReadStream } from 'node:fs';

export interface Line {
  /** Without its end. */
  text: string;
  /** Bytes of the file up to the end of the line. */
  end: number;
  /** False of a last line that nothing ends. */
  ended: boolean;
}

const NEWLINE = 0x0a;

/** `chunk`: bytes to read at once. Rejects as the file system does. */
export async function* readLines(path: string, chunk = 2 ** 16): AsyncGenerator<Line> {
  let end = 0;
  let parts: Buffer[] = [];
  const line = (ended: boolean): Line => {
    // decoded whole: a chunk may end within a character
    const bytes = Buffer.concat(parts);
    parts = [];
    end += bytes.length + Number(ended);
    return { text: bytes.toString('utf8'), end, ended };
  };
  for await (const data of createReadStream(path, { highWaterMark: chunk }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let at = data.indexOf(NEWLINE); at >= 0; at = data.indexOf(NEWLINE, start)) {
      parts.push(data.subarray(start, at));
      start = at + 1;
      yield line(true);
    }
    if (start < data.length) parts.push(data.subarray(start));
  }
  if (parts.length > 0) yield line(false);
}
