/** Random values of a JSON schema, and random damage to them; the same seed gives the same values. */

export interface Schema {
  $ref?: string;
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  patternProperties?: Record<string, Schema>;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
}

const strings = [
  '',
  'a',
  'Compute 1+1.',
  '<step>',
  '<|im_end|>',
  '\u0000',
  'é😀',
  '\ud800',
  'null',
  'x'.repeat(300),
];
const oddities: unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  -1e308,
  2 ** 53,
  '',
  'x',
  [],
  {},
  [[]],
  [null],
  { a: 1 },
];

export class Fuzzer {
  #state: number;
  readonly #schemas: Record<string, Schema>;

  constructor(seed: number, schemas: Record<string, Schema>) {
    this.#state = seed;
    this.#schemas = schemas;
  }

  valid(given: Schema, depth = 0): unknown {
    const schema = this.#resolve(given);
    if (schema.const !== undefined) return schema.const;
    if (schema.enum) return this.#pick(schema.enum);
    if (schema.anyOf) return this.valid(this.#pick(schema.anyOf), depth);
    switch (schema.type) {
      case 'object':
        return this.#object(schema, depth);
      case 'array': {
        const least = schema.minItems ?? 0;
        const length = Math.min(schema.maxItems ?? 99, least + this.#below(depth > 4 ? 1 : 3));
        return Array.from({ length }, () => this.valid(schema.items ?? {}, depth + 1));
      }
      case 'string':
        return this.#pick(strings.filter((text) => text.length >= (schema.minLength ?? 0)));
      case 'integer':
        return Math.round(this.#number(schema));
      case 'number':
        return this.#number(schema);
      case 'boolean':
        return this.#below(2) === 1;
      case 'null':
        return null;
      default:
        return this.#pick(oddities);
    }
  }

  /** The value with one thing changed: a member replaced, removed or added, at any depth. */
  spoil(value: unknown, schema: Schema): unknown {
    const copy = JSON.parse(JSON.stringify(value));
    let node = copy;
    for (;;) {
      const keys = typeof node === 'object' && node !== null ? Object.keys(node) : [];
      if (keys.length === 0) return this.#pick([...oddities, copy]);
      const key = this.#pick(keys);
      if (typeof node[key] === 'object' && node[key] !== null && this.#below(3) > 0) {
        node = node[key];
        continue;
      }
      const kind = this.#below(4);
      if (kind === 0) delete node[key];
      else if (kind === 1 && !Array.isArray(node)) node[`${key}x`] = this.#pick(oddities);
      else if (kind === 2)
        node[key] = this.valid(this.#pick(Object.values(schema.properties ?? { any: {} })));
      else node[key] = this.#pick(oddities);
      return copy;
    }
  }

  #object(schema: Schema, depth: number): object {
    const members: [string, unknown][] = [];
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      // Deep down only what must be, so that recursive schemas end.
      if (schema.required?.includes(name) || (depth < 6 && this.#below(3) === 0)) {
        members.push([name, this.valid(property, depth + 1)]);
      }
    }
    for (const property of Object.values(schema.patternProperties ?? {})) {
      if (this.#below(2) === 0) members.push([String(this.#below(600)), this.valid(property, depth + 1)]);
    }
    return Object.fromEntries(members);
  }

  #number(schema: Schema): number {
    const least =
      schema.minimum ?? (schema.exclusiveMinimum === undefined ? -10 : schema.exclusiveMinimum + 0.001);
    const most = Math.min(schema.maximum ?? least + 20, 2 ** 31);
    const choice = this.#below(4);
    return choice === 0 ? least : choice === 1 ? most : least + (most - least) * this.#unit();
  }

  #resolve(schema: Schema): Schema {
    const name = schema.$ref?.split('/').at(-1);
    return name === undefined ? schema : (this.#schemas[name] ?? {});
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T;
  }

  #below(bound: number): number {
    return Math.floor(this.#unit() * bound);
  }

  /** mulberry32 */
  #unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
}
