/**
 * A response as an ordered list of segments, as the API carries it. The concatenation of the segments' `text` is the
 * response, character for character; the other members are a view of that text.
 */
import type { BranchEnd } from '../engine/types.js';

export interface TextSegment {
  type: 'text';
  text: string;
}

export interface Plan {
  /** As in `2.1: ...`, else the plan's ordinal. */
  number: string;
  /** Between `<plan>` and `</plan>`, number included. */
  text: string;
}

export interface Branch {
  number: string;
  /** Between `<step>` and `</step>`, nested blocks and all. */
  text: string;
  /** The same text in segments, where blocks are nested in it. */
  segments?: Segment[];
  /** Tokens of the branch, its head and closing included. Absent where the text was not generated here. */
  tokens?: number;
  finish_reason?: BranchEnd;
}

export interface Block {
  type: 'block';
  /** From `<guideline>` to `</takeaway>`, or to the end of the turn. */
  text: string;
  plans: Plan[];
  branches: Branch[];
  /** Between `<takeaway>` and `</takeaway>`, or the end of the turn. */
  takeaway: string;
}

export type Segment = TextSegment | Block;

/**
 * What a client may send: the segments as they came, or blocks written by hand without their `text`, which are then
 * rendered with canonical whitespace and numbers.
 */
export type SegmentInput = TextSegment | BlockInput;

export interface BlockInput {
  type: 'block';
  text?: string | undefined;
  plans?: { number?: string | undefined; text: string }[] | undefined;
  branches?: BranchInput[] | undefined;
  takeaway?: string | null | undefined;
}

export interface BranchInput {
  number?: string | undefined;
  text?: string | undefined;
  segments?: SegmentInput[] | undefined;
  tokens?: number | undefined;
  finish_reason?: BranchEnd | undefined;
}
