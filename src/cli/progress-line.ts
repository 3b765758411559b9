/** @file Progress as one line that is drawn again, or as a line now and then where nothing can be. */

import type { TrainProgress } from '../train/train-options.ts';
import { formatDuration, formatNumber } from './format-units.ts';
import { shownPath } from './shown-path.ts';
import type { Terminal } from './terminal.ts';

const phaseNames: { readonly [P in TrainProgress['phase']]: string } = {
  prepare: 'reading images',
  cache: 'encoding images',
  text: 'encoding captions',
  compile: 'compiling',
  preview: 'preview',
  train: 'training',
  save: 'saving',
};

/** Cells of the bar, where the line has room for it. */
const barCells = 24;
const minCells = 8;
const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;

/** `│██████▌     │`, `cells` wide inside. */
function bar(share: number, cells: number): string {
  const steps = Math.floor(Math.min(Math.max(share, 0), 1) * cells * 8);
  const blocks = '█'.repeat(Math.floor(steps / 8)) + eighths[steps % 8];
  return `│${blocks}${' '.repeat(cells - [...blocks].length)}│`;
}

/** `1.23 s/it`, or `4.56 it/s` where a step takes less than a second, as trainers show it. */
function formatSpeed(secondsPerStep: number): string {
  return secondsPerStep >= 1
    ? `${secondsPerStep.toFixed(2)} s/it`
    : `${(1 / secondsPerStep).toFixed(2)} it/s`;
}

function details({ phase, done, total, ...rest }: TrainProgress): string[] {
  const { text, loss, smoothedLoss, learningRate, secondsPerStep } = rest;
  const parts: string[] = [];
  if (secondsPerStep !== undefined && secondsPerStep > 0) {
    parts.push(
      formatSpeed(secondsPerStep),
      `ETA ${formatDuration((total - done) * secondsPerStep)}`,
    );
  }
  const shownLoss = smoothedLoss ?? loss;
  if (shownLoss !== undefined) parts.push(`loss ${shownLoss.toFixed(4)}`);
  if (learningRate !== undefined) parts.push(`lr ${formatNumber(learningRate)}`);
  if (text) parts.push(phase === 'save' ? shownPath(text) : text);
  return parts;
}

/**
 * One line, such as `training  │████   │ 120/500  24 %  1.23 s/it  ETA 7:48  loss 0.1234  lr 0.0001`.
 * @param columns most characters of the line; without it there is no limit and no bar
 */
export function formatProgress(progress: TrainProgress, columns?: number): string {
  const { phase, done, total } = progress;
  // A compilation or a file comes at some step of the run, which is not its own progress.
  const counted = phase !== 'compile' && phase !== 'save' && (total > 1 || phase === 'train');
  const percent = Math.floor((100 * done) / Math.max(total, 1));
  const count = counted ? [`${String(done).padStart(String(total).length)}/${total}`] : [];
  const right = [...count, ...(counted ? [`${percent} %`] : []), ...details(progress)].join('  ');
  const name = phaseNames[phase];
  if (columns === undefined) return `${name}  ${right}`.trimEnd();
  const room = columns - name.length - right.length - 6;
  const cells = Math.min(barCells, room);
  const middle =
    counted && cells >= minCells ? `  ${bar(done / Math.max(total, 1), cells)}  ` : '  ';
  const line = [...`${name}${middle}${right}`.trimEnd()];
  return line.length > columns ? `${line.slice(0, columns - 1).join('')}…` : line.join('');
}

/** So many of the last steps tell how long a step takes. */
const paceSteps = 20;
/** A step that takes so many times the usual compiled a graph, or drew previews. */
const outlier = 3;

/** The time of a step, evened out: buckets differ, and the first step of each is slow. */
class Pace {
  readonly #seconds: number[] = [];

  evened(progress: TrainProgress): TrainProgress {
    if (progress.secondsPerStep === undefined) return progress;
    this.#seconds.push(progress.secondsPerStep);
    if (this.#seconds.length > paceSteps) this.#seconds.shift();
    const median = this.#seconds.toSorted((a, b) => a - b)[Math.floor(this.#seconds.length / 2)]!;
    const usual = this.#seconds.filter((seconds) => seconds <= outlier * median);
    const secondsPerStep = usual.reduce((sum, seconds) => sum + seconds, 0) / usual.length;
    return { ...progress, secondsPerStep };
  }
}

/** Least time between two drawings of the line, and between two lines where it cannot be redrawn. */
const redrawMs = 100;
const plainMs = 10_000;

/** Shows the progress of a run on stderr. */
export class ProgressLine {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  readonly #pace = new Pace();
  #shownAt = Number.NEGATIVE_INFINITY;
  #phase: TrainProgress['phase'] | undefined;
  /** The line as it stands on the screen, to be drawn over; '' where the cursor is on an empty line. */
  #drawn = '';
  /** What is not shown yet because it came too soon. */
  #pending: TrainProgress | undefined;

  constructor(terminal: Terminal, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#now = now;
  }

  update(progress: TrainProgress): void {
    const columns = this.#terminal.liveColumns();
    const { phase, done, total } = progress;
    const finished = done >= total;
    const every = columns === null ? plainMs : redrawMs;
    const changed = phase !== this.#phase;
    this.#phase = phase;
    this.#pending = this.#pace.evened(progress);
    if (!finished && !changed && this.#now() - this.#shownAt < every) return;
    if (columns === null) {
      // A phase that has only begun says nothing yet; long ones are heard of by the clock.
      if (changed && !finished && phase !== 'train') return;
      this.#plain();
      return;
    }
    this.#redraw(columns);
    // What is finished stays on the screen; what comes next is drawn below it.
    if (finished) this.#endLine();
  }

  /** A message of its own, above the line. */
  note(text: string): void {
    const columns = this.#terminal.liveColumns();
    if (columns === null) {
      this.#terminal.complain(text);
      return;
    }
    this.#terminal.draw(`\r${' '.repeat([...this.#drawn].length)}\r`);
    this.#terminal.complain(text);
    const line = this.#drawn;
    this.#terminal.draw(line);
  }

  /** Leaves the last line as it is and goes to a new one; call it before other output. */
  end(): void {
    if (this.#pending && this.#terminal.liveColumns() === null) this.#plain();
    this.#endLine();
  }

  #plain(): void {
    if (!this.#pending) return;
    this.#terminal.complain(formatProgress(this.#pending));
    this.#shownAt = this.#now();
    this.#pending = undefined;
  }

  #redraw(columns: number): void {
    if (!this.#pending) return;
    // One column stays free: terminals wrap when the last one is written.
    const line = formatProgress(this.#pending, columns - 1);
    const rest = [...this.#drawn].length - [...line].length;
    this.#terminal.draw(`\r${line}${' '.repeat(Math.max(rest, 0))}`);
    this.#drawn = line;
    this.#shownAt = this.#now();
    this.#pending = undefined;
  }

  #endLine(): void {
    const columns = this.#terminal.liveColumns();
    if (columns !== null) this.#redraw(columns);
    if (this.#drawn !== '') this.#terminal.draw('\n');
    this.#drawn = '';
    this.#pending = undefined;
  }
}
