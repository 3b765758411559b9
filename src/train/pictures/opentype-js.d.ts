/** @file What this project uses of opentype.js, which brings no types (those on npm pull in the DOM's). */

declare module 'opentype.js' {
  /** One stroke of an outline, in pixels, y downwards. */
  type PathCommand =
    | { readonly type: 'M' | 'L'; readonly x: number; readonly y: number }
    | {
        readonly type: 'Q';
        readonly x1: number;
        readonly y1: number;
        readonly x: number;
        readonly y: number;
      }
    | {
        readonly type: 'C';
        readonly x1: number;
        readonly y1: number;
        readonly x2: number;
        readonly y2: number;
        readonly x: number;
        readonly y: number;
      }
    | { readonly type: 'Z' };

  interface Glyph {
    /** In font units. */
    readonly advanceWidth: number;
    getPath(x: number, baseline: number, size: number): { readonly commands: PathCommand[] };
  }

  interface Font {
    /** Font units in the size of the font. */
    readonly unitsPerEm: number;
    charToGlyph(character: string): Glyph;
  }

  const opentype: {
    /** With `lowMemory` a glyph is read when it is asked for, which is three times as fast. */
    parse(bytes: ArrayBuffer, options: { readonly lowMemory: boolean }): Font;
  };

  // biome-ignore lint/style/noDefaultExport: so Node shows the functions of a CommonJS package
  export { type Font, opentype as default, type PathCommand };
}
