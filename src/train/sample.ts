/** Responses to one prompt, whole: what training and validation need of them. */
import type { Engine, EngineRequest, EngineUsage, FinishReason, TagTokens } from '../engine/types.js';
import { ChoiceBuilder } from '../parallel/choice.js';
import { render } from '../parallel/render.js';
import type { Segment } from '../parallel/segments.js';

export interface Response {
  /** The request it belongs to, and which of its samples it is. */
  request: EngineRequest;
  choice: number;
  text: string;
  segments: Segment[];
  /** In flat order, the end of sequence included. */
  tokens: number[];
  /** One for each token: true where the engine chose it. */
  forced: boolean[];
  /** Likewise, 0 where forced; empty unless the request asked for them. */
  policyLogprobs: number[];
  reason: FinishReason;
  usage: EngineUsage;
}

/**
 * All samples of a request, which may take several where the KV pool is small. Rejects with an EngineError, or where `signal`
 * aborts; nothing of them runs on then.
 */
export async function sample(
  engine: Engine,
  tags: TagTokens | undefined,
  request: EngineRequest,
  signal?: AbortSignal,
): Promise<Response[]> {
  const parts = fitting(request, engine.info.slots).map((part) => respond(engine, tags, part, signal));
  await Promise.allSettled(parts);
  return (await Promise.all(parts)).flat();
}

async function respond(
  engine: Engine,
  tags: TagTokens | undefined,
  request: EngineRequest,
  signal?: AbortSignal,
): Promise<Response[]> {
  const builders = Array.from({ length: request.n }, () => new ChoiceBuilder(tags));
  const ends: { reason: FinishReason; usage: EngineUsage }[] = [];
  await engine.submit(
    request,
    (events) => {
      for (const event of events) {
        if ('choice' in event) builders[event.choice]?.push(event);
        if (event.type === 'choice_finished')
          ends[event.choice] = { reason: event.reason, usage: event.usage };
      }
    },
    signal,
  );
  signal?.throwIfAborted();
  return builders.map((builder, choice) => {
    const end = ends[choice];
    if (end === undefined) throw new Error(`the engine ended a request without its sample ${choice}`);
    const { segments, tokens, forced, policyLogprobs } = builder.message();
    return { request, choice, text: render(segments), segments, tokens, forced, policyLogprobs, ...end };
  });
}

/**
 * One request of n samples, or as many as the KV pool needs: a request must fit with all its samples at their longest. The
 * seeds of further ones follow from the first's.
 */
export function fitting(request: EngineRequest, slots: number): EngineRequest[] {
  const { prompt, maxTokens, n, sampling } = request;
  const most = Math.floor((slots - prompt.length) / maxTokens);
  // one that does not fit alone is refused by the engine, which says why
  const each = Math.min(n, Math.max(1, most));
  const requests: EngineRequest[] = [];
  for (let left = n; left > 0; left -= each)
    requests.push({
      ...request,
      n: Math.min(each, left),
      sampling: { ...sampling, seed: BigInt.asUintN(64, sampling.seed + BigInt(requests.length)) },
    });
  return requests;
}
