/** Settings of a run, from what a test says of them. */
import { Check, Default } from 'typebox/value';
import { TrainSettings } from '../../src/train/settings.js';

export function runSettings(given: object): TrainSettings {
  const tasks = { tasks: { families: ['products'], count: 20 } };
  const all = Default(TrainSettings, { model: '/model', output: '/output', data: tasks, ...given });
  if (!Check(TrainSettings, all)) throw new Error(`not settings: ${JSON.stringify(given)}`);
  return all;
}
