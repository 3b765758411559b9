/** @file Where a command writes: results to stdout, messages and progress to stderr. */

/** What commands see of the two streams; tests hand in another. */
export interface Terminal {
  /** Lines of a result. */
  print(text: string): void;
  /** A message beside the result: a warning, a mistake, a hint. */
  complain(text: string): void;
  /** Raw characters on stderr, without a line's end. */
  draw(text: string): void;
  /** Width of the line that may be drawn again and again; null where stderr is no terminal. */
  liveColumns(): number | null;
}

/** `TERM=dumb` is what editors and some build logs say of themselves. */
function isLive(stream: NodeJS.WriteStream): boolean {
  const { TERM } = process.env;
  return stream.isTTY && TERM !== 'dumb';
}

/**
 * The process's own streams. A reader that goes away (`| head`, a closed window) silences its stream
 * and stops nothing: a training run is worth more than its progress line.
 */
export function processTerminal(): Terminal {
  const closed = new Set<NodeJS.WriteStream>();
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', () => closed.add(stream));
  }
  const write = (stream: NodeJS.WriteStream, text: string) => {
    if (!closed.has(stream)) stream.write(text);
  };
  return {
    print: (text) => write(process.stdout, `${text}\n`),
    complain: (text) => write(process.stderr, `${text}\n`),
    draw: (text) => write(process.stderr, text),
    liveColumns: () => (isLive(process.stderr) ? (process.stderr.columns ?? 80) : null),
  };
}
