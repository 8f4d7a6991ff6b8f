/**
 * Chance in a training run. Nothing is drawn from a stream that a resumed run would have to find its place in: every draw is
 * a function of the run's seed and of what it is for.
 */
import { createHash } from 'node:crypto';

/** 64 bits that depend on every part. */
export function seedOf(...parts: (string | number)[]): bigint {
  return createHash('sha256').update(JSON.stringify(parts)).digest().readBigUInt64LE();
}

/** In [0, 1). */
export function fraction(...parts: (string | number)[]): number {
  return Number(seedOf(...parts) >> 11n) / 2 ** 53;
}

/** Numbers in [0, 1), one after another (Marsaglia's xorshift with a Weyl sequence, "xorwow"). */
export function generator(seed: bigint): () => number {
  const word = (shift: bigint) => Number((seed >> shift) & 0xffffffffn) | 0;
  let [x, y, z, w, v] = [word(0n), word(32n), 0x5491333 ^ word(16n), 0x1f123bb5, 0x75bcd15];
  let weyl = 0x587c5;
  const next = () => {
    const t = x ^ (x >>> 2);
    x = y;
    y = z;
    z = w;
    w = v;
    v = v ^ (v << 4) ^ t ^ (t << 1);
    weyl = (weyl + 362437) | 0;
    return ((v + weyl) >>> 0) / 2 ** 32;
  };
  // a seed of few bits takes some turns to spread
  for (let i = 0; i < 16; i++) next();
  return next;
}

/** 0 .. n - 1 in an order that the seed decides. */
export function permutation(n: number, seed: bigint): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  const next = generator(seed);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
