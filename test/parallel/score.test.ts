import { describe, expect, it } from 'vitest';
import { formatScore } from '../../src/parallel/score.js';

const block = (plans: string[], steps: string[], takeaway = 'they agree', between = '\n') =>
  `<guideline>\n${plans.map((plan) => `<plan>${plan}</plan>`).join(between)}\n</guideline>\n${steps
    .map((step) => `<step>\n${step}\n</step>`)
    .join('\n')}\n<takeaway>\n${takeaway}\n</takeaway>`;

const VALID = block(['1: a', '2: b'], ['1: work', '2: more']);
const ANSWER = '\nSo \\boxed{\\frac{1}{2}}.';

describe('formatScore', () => {
  const cases: [string, string, number][] = [
    ['a valid response', VALID + ANSWER, 0],
    ['two blocks with text around them', `So ${VALID}\nthen${VALID}${ANSWER}`, 0],
    ['a nested block', block(['1: a'], [`1: ${VALID} done`]) + ANSWER, 0],
    ['nothing', ' \n', -2],
    ['no block', `So${ANSWER}`, -1.5],
    ['a block that never ends', `<guideline><plan>1: a</plan>${ANSWER}`, -1.5],
    ['a tag before the block', `</step>${VALID}${ANSWER}`, -1.5],
    ['a tag between blocks', `${VALID}<plan>${VALID}${ANSWER}`, -1.5],
    ['a tag after the last block', `${VALID}</takeaway>${ANSWER}`, -1],
    ['an unfinished block after the last', `${VALID}<guideline>${ANSWER}`, -1],
    ['a block without plans', block([], []) + ANSWER, -1],
    ['fewer steps than plans', block(['1: a', '2: b'], ['1: work']) + ANSWER, -1],
    ['more steps than plans', block(['1: a'], ['1: work', '2: more']) + ANSWER, -1],
    ['tags out of order', `<guideline><step></step><takeaway></takeaway>${ANSWER}`, -1],
    ['no answer', VALID, -1],
    ['an empty answer', `${VALID} \\boxed{ }`, -1],
    ['an answer that never closes', `${VALID} \\boxed{1`, -1],
    [
      'text between plans',
      block(['1: a', '2: b'], ['1: work', '2: more'], 'they agree', ' and ') + ANSWER,
      -0.6,
    ],
    ['text between steps', VALID.replace('</step>', '</step> then') + ANSWER, -0.2],
    ['a short plan', block(['1 :'], ['1: work']) + ANSWER, -0.4],
    ['two short steps', block(['1: a', '2: b'], ['1: wo', '2: m o']) + ANSWER, -0.8],
    ['a short takeaway', block(['1: a'], ['1: work'], 'a  b c d e') + ANSWER, -0.4],
    [
      'a short step in a nested block',
      block(['1: a'], [`1: ${VALID.replace('1: work', '1:')}`]) + ANSWER,
      -0.4,
    ],
    ['everything', block(['', '', ''], ['', '', ''], '', 'x') + ANSWER, -2],
  ];
  it.each(cases)('of %s', (_, response, score) => {
    expect(formatScore(response)).toBe(score);
  });
});
