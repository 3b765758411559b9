/** @file Writes values as Python prints them: readers of kohya's metadata expect that spelling. */

/** A number that Python would hold as a float, so that 1 is written `1.0`. */
export class PyFloat {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** What `json.dumps` can be given here; a Map is an object whose order of keys is kept. */
export type PyJson =
  | string
  | number
  | boolean
  | null
  | PyFloat
  | readonly PyJson[]
  | ReadonlyMap<string, PyJson>
  | { readonly [key: string]: PyJson };

/** `repr` of a float: `1.0`, `0.0001`, `5e-05`, `1e+16`. */
export function pyFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [digits = '', power = ''] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 16) {
    const text = String(value);
    return text.includes('.') ? text : `${text}.0`;
  }
  const sign = exponent < 0 ? '-' : '+';
  return `${digits}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

/** `str` of a bool, an int, None or a text. */
export function pyStr(value: string | number | boolean | null | PyFloat): string {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (value instanceof PyFloat) return pyFloat(value.value);
  return String(value);
}

/** `json.dumps` of a text: all but printable ASCII is escaped. */
function pyJsonText(text: string): string {
  return JSON.stringify(text).replace(
    /[^ -~]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** `json.dumps` with its defaults: `, ` and `: ` between items, ASCII only. */
export function pyJson(value: PyJson): string {
  if (typeof value === 'string') return pyJsonText(value);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) {
    return JSON.stringify(value);
  }
  if (value instanceof PyFloat) return pyFloat(value.value);
  if (Array.isArray(value)) return `[${value.map(pyJson).join(', ')}]`;
  const pairs: Iterable<readonly [string, PyJson]> =
    value instanceof Map ? value : Object.entries(value);
  return `{${Array.from(pairs, ([key, item]) => `${pyJsonText(key)}: ${pyJson(item)}`).join(', ')}}`;
}
