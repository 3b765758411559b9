/** @file The loss without its noise: most of a step's loss comes from the timestep that was drawn. */

/** Share of the old value that stays at each step. */
const kept = 0.97;

/** An exponential mean; losses that are not finite are left out. */
export class SmoothedLoss {
  /** Undefined before the first finite loss. */
  value: number | undefined;

  /** @param losses so far, oldest first */
  constructor(losses: readonly number[] = []) {
    for (const loss of losses) this.add(loss);
  }

  /** The mean with one more loss; NaN as long as there is none. */
  add(loss: number): number {
    if (Number.isFinite(loss)) {
      this.value = this.value === undefined ? loss : kept * this.value + (1 - kept) * loss;
    }
    return this.value ?? Number.NaN;
  }
}
