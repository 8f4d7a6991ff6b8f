import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { equalAnswers } from '../../src/answers/equal.js';

const EQUAL: [string, string][] = [
  // strings
  ['42', ' 42 '],
  ['\\text{Evelyn}', 'evelyn'],
  ['\\text{(C)}', 'C'],
  ['\\mathrm{even}', '\\text{ even }'],
  ['\\dfrac{17}{50}', '\\frac{17}{50}'],
  ['\\left(3, \\frac{\\pi}{2}\\right)', '(3,\\frac\\pi2)'],
  ['k \\geqslant 2', 'k\\ge2'],
  // numbers
  ['025', '25'],
  ['27.0', '27'],
  ['.35625', '0.35625'],
  ['1/3', '0.33333'],
  ['\\frac{270}7\\text{ degrees}', '38.5714'],
  ['4.5e33', '4.5 \\times 10^{33}'],
  ['-1./3', '-\\frac13'],
  ['1\\frac{4}{5}', '1.8'],
  ['137 \\frac{1}{2}', '\\frac{275}{2}'],
  ['0.\\overline{3}', '\\frac{1}{3}'],
  ['1 1/2', '\\frac32'],
  ['-2\\ 3/4 hours', '-2.75'],
  ['1 234 1/2', '1234.5'],
  ['1 234/5', '246.8'],
  // separators
  ['10,\\!080', '10080'],
  ['11,\\! 111,\\! 111,\\! 100', '11111111100'],
  ['58,500', '58500'],
  ['58{,}500', '58,500'],
  ['\\$32,\\!348', '32348'],
  ['1 234 567.5', '1234567.5'],
  // percent
  ['62.5\\%', '62.5'],
  ['62.5%', '0.625'],
  ['\\frac58', '62.5\\%'],
  ['$8 \\%$', '8 percent'],
  // units
  ['864 \\mbox{ inches}^2', '864'],
  ['15\\mbox{ cm}^2', '15 cm^2'],
  ['5.4 \\text{ cents}', '5.4'],
  ['90^\\circ', '90'],
  ['$18.8^{\\circ}$', '18.8°'],
  ['7.5 \\mathrm{~km}', '7.5'],
  ['12\\pi \\text{ cm}^3', '12\\pi'],
  ['\\$18.90', '18.9'],
  ['12 square units', '12'],
  ['15 cm ^2', '15'],
  [`12${' '.repeat(300)}square${' '.repeat(100)}feet ^{2} `, '12'],
  [`12 ${'days '.repeat(60)}`, '12'],
  [`12 ${'days '.repeat(60)}total`, `12  ${'days '.repeat(60)} total`],
  // collections
  ['1,-2', '-2,1'],
  ['\\{1\\pm\\sqrt{5},-2\\}', '-2, 1-\\sqrt5, 1+\\sqrt5'],
  ['3 \\pm 2 \\sqrt{2}', '3+2\\sqrt2 \\text{ and } 3-2\\sqrt2'],
  ['(3,4]', '(3, 8/2]'],
  ['(-\\infty, 2) \\cup (3, \\infty)', '(3,+\\infty)\\cup(-\\infty,2)'],
  ['(1,1), (3,2)', '(3,2),(1,1)'],
  ['\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}', '\\begin{bmatrix}-\\frac13\\\\ \\frac23\\end{bmatrix}'],
  ['x=2 \\text{ or } x=3', '2, 3'],
  // relations
  ['x=5', '5'],
  ['x \\in [-2,7]', '[-2,7]'],
  ['$f(x)=2 x$', '2x'],
  ['y = 2x + 3', '2x - y + 3 = 0'],
  ['5x - 7y + 11z + 4 = 0', '-10x+14y-22z-8=0'],
  ['x^2=4', 'x^2-4=0'],
  ['x = \\frac{1}{y-2}', 'x + \\frac{1}{2-y} = 0'],
  // expressions
  ['p - q', '-q+p'],
  ['(a+5)(b+2)', 'ab+2a+5b+10'],
  ['x^5 - x^4 + x^3 - x^2 + x - 1', '(x-1)(x^4+x^2+1)'],
  ['\\frac{1}{x-2}', '-\\frac{1}{2-x}'],
  ['\\frac{9 \\sqrt{23}}{23}', '\\frac{9}{\\sqrt{23}}'],
  ['11\\sqrt2', '\\sqrt{242}'],
  ['sqrt(2)/2', '\\frac{\\sqrt{2}}{2}'],
  ['np.arcsin(10/13)', '\\arcsin{\\frac{10}{13}}'],
  ['2^{25} \\cdot 26!', '26! \\times 2^{25}'],
  ['\\cot x', '\\frac{\\cos x}{\\sin x}'],
  ['\\sin^2 x + \\cos^2 x', '1'],
  ['6 - 5i', '-5i+6'],
  ['e^{i\\pi}', '-1'],
  ['\\binom{2n}{n}', '\\frac{(2n)!}{n!^2}'],
  ['\\frac{d !}{2 k(d-k) !}', '\\frac{d!}{2k \\cdot (d-k)!}'],
  ['\\left\\lfloor\\log _{2} n\\right\\rfloor+1', '1+\\lfloor \\log_2 n\\rfloor'],
  ['52_8', '52_{8}'],
  ['\\sqrt{10}', '3.1623'],
];

const DIFFERENT: [string, string][] = [
  ['42', '43'],
  ['', '0'],
  ['100000', '100001'],
  ['1', '100'],
  ['3.21', '3.22'],
  ['\\text{east}', 'seat'],
  ['\\text{(C)}', '(B)'],
  ['62.5\\%', '0.00625'],
  ['62.5\\%', '0.625\\%'],
  ['58,500', '58, 501'],
  ['1 1/2', '11/2'],
  ['1 2', '12'],
  ['x^2 1/2', 'x^{21}/2'],
  ['58 50', '5850'],
  ['1,-2', '1,2'],
  ['1,-2', '(1,-2)'],
  ['2,2', '2'],
  ['2,2,3', '2,3,3'],
  ['(3,4]', '[3,4]'],
  ['(3,4)', '(4,3)'],
  ['(2,12) \\cup (12,102)', '(2,102)'],
  ['\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}', '\\begin{pmatrix} 1 & 2 \\end{pmatrix}'],
  ['\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}', '\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}'],
  ['x=5', 'x=6'],
  ['x=5', '6'],
  ['y = 2x + 3', 'y = 2x - 3'],
  ['k \\ge 2', 'k \\le 2'],
  ['k \\ge 2', '2'],
  ['p - q', 'q - p'],
  ['x^2', '2x'],
  ['\\frac{1}{x-2}', '\\frac{1}{2-x}'],
  ['x^2=4', 'x=2'],
  ['n!', '2n!'],
  ['\\lfloor x/2 \\rfloor', '\\lfloor x^2/4 \\rfloor'],
  ['\\frac{x}{0}', '\\frac{2x}{0}'],
  ['\\frac{355}{113}', '\\pi'],
  ['\\sqrt{2}', '\\sqrt{3}'],
  ['6 - 5i', '6+5i'],
  ['\\lfloor n/2 \\rfloor', 'n/2'],
  ['52_8', '52_9'],
  ['2^{1009}', '2^{1010}'],
  ['2 \\times 10^{-19}', '3 \\times 10^{-19}'],
  ['\\frac{1}{0}', '\\frac{2}{0}'],
  ['3 +', '3'],
  ['\\frac{1}', '1'],
  ['\\undefined{3}', '3'],
];

/** Reference answers of published benchmarks, each once. */
const BENCHMARKS = JSON.parse(
  readFileSync(new URL('../fixtures/answers/benchmarks.json', import.meta.url), 'utf8'),
) as string[];
describe('equalAnswers', () => {
  it.each(EQUAL)('takes %j for %j', (a, b) => {
    expect(equalAnswers(a, b)).toBe(true);
    expect(equalAnswers(b, a)).toBe(true);
  });
  it.each(DIFFERENT)('tells %j from %j', (a, b) => {
    expect(equalAnswers(a, b)).toBe(false);
    expect(equalAnswers(b, a)).toBe(false);
  });

  it('takes every answer of the benchmarks for itself, however it is set', () => {
    for (const answer of BENCHMARKS) {
      expect(equalAnswers(`$ ${answer} $.`, answer), answer).toBe(true);
      expect(equalAnswers(answer.replaceAll('\\frac', '\\dfrac').replaceAll(' ', '  '), answer), answer).toBe(
        true,
      );
    }
  });

  it('tells different answers of the benchmarks apart', () => {
    const equal: string[][] = [];
    for (const [i, a] of BENCHMARKS.entries())
      for (let j = i + 1; j < BENCHMARKS.length; j += 1 + ((i * 31 + j * 17) % 101)) {
        const b = BENCHMARKS[j] as string;
        if (equalAnswers(a, b)) equal.push([a, b]);
      }
    // one answer, written twice
    expect(equal).toEqual([['36.0', '36^\\circ']]);
  });

  it.each([
    '|'.repeat(60),
    '9^{9^{9^9}}',
    '\\sum_{n=1}^{10000000} \\frac1n',
    '('.repeat(400),
    '-'.repeat(400),
    `12 ${'days '.repeat(60)}total`,
    `12${' '.repeat(400)}days total`,
  ])('ends with %j', (text) => {
    expect(equalAnswers(text, '1')).toBe(false);
    expect(equalAnswers(text, 'x + 1')).toBe(false);
  });
});
