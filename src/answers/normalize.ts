/** Answers that differ only in how they are written become one string. */

const TEXT = /\\(?:text|textbf|textit|textrm|mbox|hbox|mathrm|mathbf|rm)\s*\{([^{}]*)\}/;

/** Units that people write without `\text`. None of one letter: `6m` is a product. */
const UNIT_WORDS = [
  'degrees? radians? percent units? cents? dollars?',
  'inch(?:es)? feet foot ft yards? miles? mph cm mm km nm meters? metres? centimeters? kilometers?',
  'seconds? secs? minutes? mins? hours? hrs? days? weeks? months? years? ms',
  'grams? kg mg pounds? lbs? ounces? oz liters? litres? ml gallons?',
  'square cubic sq points? people students? ways?',
]
  .join(' ')
  .replaceAll(' ', '|');
/** What makes `\mathrm{...}` a unit, where `\text` may hold anything. */
const UNIT = new RegExp(`^[~ ]*(?:${UNIT_WORDS}|(?![eid][. ]*$)[a-zA-Z]{1,3})[. ]*$`, 'i');
/** Of text whose spaces are single. What may be a space is said once a gap: said twice, a long text would take forever. */
const TRAILING_UNIT = new RegExp(
  `(?<=[\\d}).]) ?(?:(?:${UNIT_WORDS})(?![a-z]) ?(?:\\^\\{?\\d\\}? ?)?)+$`,
  'i',
);

/** `1 1/2`, whose whole number may be in groups of three, as in `1 234 1/2`. */
const MIXED = /(?<![\w.^}/]|\/ )(\d{1,3}(?:[ ,]\d{3})+|\d+) (\d+) ?\/ ?(\d+)(?!\d|\.\d)/g;

/** Spelled-out functions of plain text, as in `sqrt(2)` or `np.arcsin(x)`. */
const FUNCTIONS = 'arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|pi';

/**
 * Without dollar signs, sizes of brackets, spaces, units and degrees; with `\frac{a}{b}` and `\sqrt{a}` in full, `%` for
 * percent and `,` for "and" and "or". Matrices are all `\begin{matrix}`, mixed numbers sums. Meant for comparison, not for
 * display.
 */
export function normalize(answer: string): string {
  let s = answer.trim().replace(/\s+/g, ' ');
  s = s.replace(/\\\$|\$/g, '').replace(/(?<!\\)\\[()[\]]/g, '');
  s = s.replace(/\\(?:displaystyle|left|right|bigl?|bigr|Bigl?|Bigr|limits)(?![a-zA-Z])/g, '');
  s = s.replace(/(\d)(?:\\!|\\,|\{,\}|,\\!|\{,\}\\!)\s*(?=\d{3}(?!\d))/g, (_, digit: string) => digit);
  s = s.replace(/(?<!\\)\\(?:[,;:! ]|quad|qquad|thinspace)(?![a-zA-Z])|~/g, ' ');
  s = s.replace(/\\%|\s*percent\b/g, '%');
  s = s.replace(/\s*(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree(?:s?)(?![a-zA-Z]))/g, '');
  s = unitsAndText(s);
  s = s.replace(/\\[dtc]frac/g, '\\frac');
  s = s.replace(/\\begin\{[pb]matrix\}/g, '\\begin{matrix}').replace(/\\end\{[pb]matrix\}/g, '\\end{matrix}');
  s = s.replace(/\\(?:geqslant|geq|ge)(?![a-zA-Z])/g, '\\ge ').replace(/≥/g, '\\ge ');
  s = s.replace(/\\(?:leqslant|leq|le)(?![a-zA-Z])/g, '\\le ').replace(/≤/g, '\\le ');
  s = s
    .replace(/∞|(?<![a-zA-Z\\])inf(?:inity|ty)?(?![a-zA-Z])/g, '\\infty ')
    .replace(/π/g, '\\pi ')
    .replace(/−/g, '-');
  s = s
    .replace(/\bnp\./g, '')
    .replace(/(?<![a-zA-Z\\])sqrt\(([^()]*)\)/g, '\\sqrt{$1}')
    .replace(/√(\w+)/g, '\\sqrt{$1}');
  s = s.replace(new RegExp(`(?<![a-zA-Z\\\\])(${FUNCTIONS})(?![a-zA-Z])`, 'g'), '\\$1 ');
  // \frac43, \frac 5{9}, \sqrt2
  s = s.replace(/\\frac\s*([0-9a-zA-Z])\s*(?=[0-9a-zA-Z{])/g, '\\frac{$1}');
  s = s.replace(/(\\frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])/g, '$1{$2}');
  s = s.replace(/\\sqrt\s*([0-9a-zA-Z])/g, '\\sqrt{$1}');
  s = s.replace(/([\^_])\s*\{\s*(\w)\s*\}/g, '$1$2');
  // 1\frac{4}{5} is no product
  s = s.replace(/(?<![\w.^}])(\d+)\s*(\\frac\{\d+\}\{\d+\})/g, '($1+$2)');
  // 2. and the full stop of a sentence
  s = s.replace(/(\d)\.(?![\d\\])/g, '$1').replace(/[.,;:\s]+$/, '');
  s = s.replace(/(^|[,([{])\s*\+/g, '$1');
  return withoutSpaces(mixedNumbers(s.replace(/ +/g, ' ')));
}

function unitsAndText(s: string): string {
  let out = s;
  for (let match = TEXT.exec(out); match !== null; match = TEXT.exec(out)) {
    const content = match[1] as string;
    const before = out.slice(0, match.index);
    const after = out.slice(match.index + match[0].length);
    const afterQuantity = /(?:[\d})]|\\pi)\s*$/.test(before) && /^\s*(?:\^\s*\{?\d\}?)?[\s.]*$/.test(after);
    const isUnit = !match[0].startsWith('\\mathrm') || UNIT.test(content);
    if (afterQuantity && isUnit && !/^[~\s]*(?:and|or)\b/.test(content)) out = before;
    else out = `${before}${content}${after}`;
  }
  out = out
    .replace(/\s+/g, ' ')
    .replace(/ (?:and|or) /g, ', ')
    .replace(/, ?,/g, ',');
  out = out.replace(TRAILING_UNIT, '');
  // the letter of a multiple choice
  return out.replace(/^\s*\(([A-H])\)\s*$/, '$1');
}

function mixedNumbers(s: string): string {
  return s.replace(MIXED, (all, whole: string, over: string, under: string) =>
    // 1 234/5 is 1234/5
    over.length === 3 && Number(over) >= Number(under)
      ? all
      : `(${whole.replace(/[ ,]/g, '')}+${over}/${under})`,
  );
}

/** A space stays only where it ends a command's name, or keeps two numbers from being one, which groups of three are. */
function withoutSpaces(s: string): string {
  return s
    .replace(/(?<![\w.,^}])\d{1,3}(?: \d{3})+(?!\d)/g, (groups) => groups.replaceAll(' ', ''))
    .replace(/(\\[a-zA-Z]+)\s+(?=[a-zA-Z])|(?<=\d)\s+(?=\d)/g, '$1\u0000')
    .replace(/\s+/g, '')
    .replaceAll('\u0000', ' ');
}
