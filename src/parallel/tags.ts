/** The eight tags of the parallel format, and where they stand in a text. */

export const TAGS = [
  '<guideline>',
  '</guideline>',
  '<plan>',
  '</plan>',
  '<step>',
  '</step>',
  '<takeaway>',
  '</takeaway>',
] as const;

export type Tag = (typeof TAGS)[number];

/** One tag, or a stretch of text that is none. */
export type Lexeme = { kind: 'tag'; text: Tag } | { kind: 'text'; text: string };

const TAG = /(<\/?(?:guideline|plan|step|takeaway)>)/;

export function isTag(text: string): text is Tag {
  return (TAGS as readonly string[]).includes(text);
}

/** Cuts a text at its tags; the lexemes' concatenation is the text. */
export function lex(text: string): Lexeme[] {
  const lexemes: Lexeme[] = [];
  // split() with one group alternates text and tag
  for (const part of text.split(TAG)) {
    if (part === '') continue;
    lexemes.push(isTag(part) ? { kind: 'tag', text: part } : { kind: 'text', text: part });
  }
  return lexemes;
}

export function hasTags(text: string): boolean {
  return lex(text).some((lexeme) => lexeme.kind === 'tag');
}

export function join(lexemes: readonly Lexeme[]): string {
  return lexemes.map((lexeme) => lexeme.text).join('');
}
