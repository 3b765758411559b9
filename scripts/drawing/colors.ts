/** @file The named colours of drawn pictures, and how far apart two colours look. */

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Colours of objects. */
export const objectColors = {
  red: [214, 40, 40],
  green: [38, 148, 62],
  blue: [44, 86, 214],
  yellow: [246, 212, 44],
  purple: [130, 54, 172],
  orange: [244, 132, 28],
  black: [26, 25, 28],
  white: [249, 249, 247],
} as const satisfies Record<string, Rgb>;

/** Colours of backgrounds. */
export const backgroundColors = {
  white: [246, 246, 244],
  grey: [140, 141, 143],
  black: [28, 27, 30],
  pink: [248, 172, 194],
  'light blue': [166, 212, 244],
  'dark blue': [26, 42, 98],
  beige: [226, 204, 166],
  'light green': [176, 224, 158],
} as const satisfies Record<string, Rgb>;

export type ObjectColor = keyof typeof objectColors;
export type BackgroundColor = keyof typeof backgroundColors;

/** Linear light of each sRGB byte (IEC 61966-2-1). */
const linearOf = Float64Array.from({ length: 256 }, (_, byte) => {
  const value = byte / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
});

function linear(byte: number): number {
  return linearOf[Math.max(0, Math.min(255, Math.round(byte)))]!;
}

/** The curve of CIE L*a*b*. */
function lightness(part: number): number {
  return part > 216 / 24389 ? Math.cbrt(part) : (24389 / 27 / 116) * part + 16 / 116;
}

/** CIE L*a*b* (D65) of an sRGB colour: equal distances look about equally large. */
export function labOf([red, green, blue]: Rgb): Rgb {
  const r = linear(red);
  const g = linear(green);
  const b = linear(blue);
  const x = lightness((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const y = lightness(0.2126729 * r + 0.7151522 * g + 0.072175 * b);
  const z = lightness((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** Distance of two L*a*b* colours (CIE 1976). */
export function labDistance(a: Rgb, b: Rgb): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

/** The name in `palette` whose colour looks nearest to an sRGB colour. */
export function nearestColor<Name extends string>(
  color: Rgb,
  palette: Readonly<Record<Name, Rgb>>,
): Name {
  const names = Object.keys(palette) as Name[];
  const distance = (name: Name) => labDistance(labOf(color), labOf(palette[name]));
  return names.reduce((best, name) => (distance(name) < distance(best) ? name : best));
}
