import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { Checkpoints } from '../../src/train/checkpoints.js';
import { labModel } from '../lab_model.js';
import { DoubleTrainer, TrainableEngine } from './double.js';

const directory = mkdtempSync(join(tmpdir(), 'npr-checkpoints-'));
afterAll(() => rmSync(directory, { recursive: true }));

it('keeps the last by number, however many digits it has', async () => {
  const engine = new TrainableEngine(await Tokenizer.load(labModel), () => ({ text: '' }));
  const trainer = new DoubleTrainer(engine, {} as never);
  const checkpoints = new Checkpoints(directory, 2);
  for (const step of [999_998, 999_999, 1_000_000])
    await checkpoints.save({ stage: 'base', step, state: {}, best: null }, trainer, labModel);
  expect(readdirSync(directory)).toEqual(['step-1000000', 'step-999999']);
  expect(await checkpoints.latest()).toMatchObject({ step: 1_000_000 });
});
