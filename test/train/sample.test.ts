import { expect, it } from 'vitest';
import { engineRequest } from '../../src/train/requests.js';
import { fitting, sample } from '../../src/train/sample.js';
import { sampledGroups } from '../../src/train/trajectories.js';
import { delta, parallel, ScriptedEngine, usage } from '../server/double.js';

const request = (n: number, maxTokens = 100) =>
  engineRequest(Array(50).fill(1), { n, maxTokens, sampling: { seed: 2n ** 64n - 1n } });

it('a response is its tokens in flat order, with what the engine forced', async () => {
  const engine = new ScriptedEngine();
  engine.script = async function* (request) {
    for await (const events of parallel())
      yield events.map((event) =>
        event.type === 'delta'
          ? { ...event, policyLogprobs: event.tokens.map(() => (event.forced ? 0 : -0.5)) }
          : event,
      );
    expect(request.policyLogprobs).toBe(false);
  };
  const tags = { guideline: 369, guidelineEnd: 370, plan: 371, planEnd: 372 };
  const steps = { step: 373, stepEnd: 374, takeaway: 375, takeawayEnd: 376 };
  const [response] = await sample(engine, { ...tags, ...steps }, request(1));
  if (response === undefined) throw new Error('no response');
  expect(response.text).toBe(
    '<guideline>\n<plan>1: add</plan>\n<plan>2: subtract</plan>\n</guideline>\n<step>\n1: 1+1 = 2\n</step>\n<step>\n2: 3-1\n</step>\n<takeaway>\nboth 2\n</takeaway>\n2',
  );
  expect(response).toMatchObject({ reason: 'stop', choice: 0 });
  expect(response.segments.map(({ type }) => type)).toEqual(['block', 'text']);
  expect(response.policyLogprobs).toEqual(response.forced.map((forced) => (forced ? 0 : -0.5)));

  const [group, ...more] = sampledGroups([{ response, weight: 2 }]);
  expect(more).toEqual([]);
  expect([...(group?.prompt ?? [])]).toEqual(Array(50).fill(1));
  const [trajectory] = group?.trajectories ?? [];
  expect([...(trajectory?.tokens ?? [])]).toEqual(response.tokens);
  expect([...(trajectory?.weights ?? [])]).toEqual(response.forced.map((forced) => (forced ? 0 : 2)));
  expect([...(trajectory?.forced ?? [])]).toEqual(response.forced.map(Number));
  expect([...(trajectory?.oldLogprobs ?? [])]).toEqual(response.policyLogprobs);
});

it('samples of one request keep their places, and their group its prompt', async () => {
  const engine = new ScriptedEngine();
  engine.script = async function* ({ n }) {
    for (let choice = n - 1; choice >= 0; choice--)
      yield [
        delta(String(choice), { choice, tokens: [choice] }),
        { type: 'choice_finished', choice, reason: 'length', usage },
      ];
  };
  const responses = await sample(engine, undefined, request(3));
  expect(responses.map(({ text, choice }) => [text, choice])).toEqual([
    ['0', 0],
    ['1', 1],
    ['2', 2],
  ]);
  const groups = sampledGroups(responses.map((response) => ({ response, weight: 1 })));
  expect(groups).toHaveLength(1);
  expect(groups[0]?.trajectories.map(({ choice }) => choice)).toEqual([0, 1, 2]);
});

it('an engine that forgets a sample is an error', async () => {
  const engine = new ScriptedEngine();
  engine.script = async function* () {
    yield [{ type: 'choice_finished', choice: 0, reason: 'stop', usage }];
  };
  await expect(sample(engine, undefined, request(2))).rejects.toThrow('without its sample 1');
});

it('a group that does not fit the KV pool is several requests, of other seeds', () => {
  expect(fitting(request(4), 450)).toEqual([request(4)]);
  const parts = fitting(request(5), 300);
  expect(parts.map(({ n }) => n)).toEqual([2, 2, 1]);
  expect(parts.map(({ sampling }) => sampling.seed)).toEqual([2n ** 64n - 1n, 0n, 1n]);
  // one that does not fit alone is the engine's to refuse
  expect(fitting(request(2), 60).map(({ n }) => n)).toEqual([1, 1]);
});
