/** What crosses the border to the native trainer: plain data and typed arrays. */
import type { EngineRequest } from './types.js';

export type LoraTarget = 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down';

export interface LoraOptions {
  rank: number;
  /** The update is scaled by alpha / rank. */
  alpha: number;
  targets: LoraTarget[];
  /** Of A's random start, 64 bits. */
  seed: bigint;
}

export interface TrainerOptions {
  /** AdamW's, as PyTorch names them. */
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** Most that the global norm of the gradient may be; 0: no clipping. */
  clipNorm: number;
  /**
   * Rows of one forward and backward, of which the KV pool must hold as many. A larger group is cut between its
   * trajectories, each part with the prompt; a longer trajectory is a micro-batch of its own.
   */
  microBatchTokens: number;
  /** What the backward computes again, to keep less: gates and ups of the MLPs, or all but the layers' inputs. */
  recompute: 'none' | 'mlp' | 'layer';
  /** undefined: every weight is trained. */
  lora?: LoraOptions | undefined;
}

/** A response behind its group's prompt, in flat order. */
export interface Trajectory {
  /** The tokens of the deltas, sampled end tokens included. */
  tokens: Int32Array;
  /** Per token, its share of the loss: advantage / T (PAPO, DAPO) or 1 / T (SFT); 0: none, as for what is forced. */
  weights: Float32Array;
  /** RL, needed there: 1 where the engine chose the token. */
  forced?: Uint8Array | undefined;
  /** RL: log-probability at sampling, under the policy; 0 where forced. For the mismatch and the clipped loss. */
  oldLogprobs?: Float32Array | undefined;
  /** Which of its request's n samples it is; undefined: the first. */
  choice?: number | undefined;
}

export interface TrainGroup {
  prompt: Int32Array;
  trajectories: Trajectory[];
  /**
   * RL: the request that the trajectories were sampled with, whose prompt is the group's. Log-probabilities are those
   * of the distribution sampled from: temperature, penalties, masks and truncation included. Absent (SFT):
   * log-softmax of the raw logits.
   */
  request?: EngineRequest | undefined;
  /** Without a request: the parallel mask and positions (structure read in assistant turns), or causal. */
  parallel: boolean;
}

/**
 * With weights w and r = exp(logp - oldLogprobs):
 * likelihood: -sum w logp (SFT, PAPO);
 * clipped (DAPO): -sum min(r w, clip(r, 1 - low, 1 + high) w), and where w < 0 no less than dual w in each term.
 */
export type Loss = { kind: 'likelihood' } | { kind: 'clipped'; low: number; high: number; dual: number };

export interface PassResult {
  loss: number;
  /** Those of a weight other than 0. */
  tokens: number;
  /** Computed, prompts included. */
  rows: number;
  /** Prompt rows that trajectories of one group shared instead of computing them again. */
  savedRows: number;
  /** In nats, of the distribution that a token was drawn from; mean over weighted tokens, 0 where there are none. */
  entropy: number;
  /** Fraction of weighted tokens whose term the clipped loss holds constant. */
  clipped: number;
  /** Max |logp - oldLogprobs| over the sampled tokens of every trajectory that has them, weighted or not. */
  mismatch: number;
  /** Per trajectory, in order of groups: log-probability of each token; 0 where a request's engine chose it. */
  logprobs: Float32Array[];
  forwardMs: number;
  backwardMs: number;
}

export interface StepResult {
  /** Before clipping. */
  gradientNorm: number;
  /** False: the gradient is not finite; weights and moments were left alone. */
  applied: boolean;
  updateMs: number;
}

/**
 * Trains the weights that its engine serves. Calls run one at a time, in order, and reject with an EngineError
 * invalid_request while the engine has requests: those that come during a call wait for its end.
 */
export interface Trainer {
  /**
   * Forward and backward; gradients add up until step(). Rejects with invalid_request, and no gradient added, where a
   * trajectory is not one that its request could have led to, or is longer than the KV pool.
   */
  accumulate(groups: TrainGroup[], loss: Loss): Promise<PassResult>;
  /** Log-probabilities alone: loss and clipped are 0. */
  score(groups: TrainGroup[]): Promise<PassResult>;
  /** Clips, takes AdamW's step, updates the engine's weights in place and forgets the gradients. */
  step(learningRate: number): Promise<StepResult>;
  /** Writes the weights into an existing directory as Hugging Face safetensors: bf16, LoRA merged, shards above 5 GB. */
  saveWeights(directory: string): Promise<void>;
  /** Master weights, moments and the count of steps, bit for bit. */
  saveState(file: string): Promise<void>;
  loadState(file: string): Promise<void>;
  /** Frees all but the engine's weights, which stay as they are: the engine may have another trainer. */
  close(): Promise<void>;
}
