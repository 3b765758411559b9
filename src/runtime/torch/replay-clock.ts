/** @file How long a device takes for work that is begun many times and waited for once, so that the waits do not count. */

/** Milliseconds of one batch, of which a wait and the host's first call are a small part. */
const batchTime = 1.5;
/** Batches; of which the fastest counts: what disturbs them makes them slower. */
const batches = 6;
const mostAtOnce = 100;

/**
 * Milliseconds of one piece of work.
 * @param begin begins it on the device
 * @param wait until all that was begun is done
 */
export function timeOf(begin: () => void, wait: () => void): number {
  const spent = (count: number) => {
    const since = performance.now();
    for (let i = 0; i < count; i++) begin();
    wait();
    return performance.now() - since;
  };
  // The first one may have things to prepare.
  spent(1);
  const count = Math.min(Math.max(Math.ceil(batchTime / spent(1)), 1), mostAtOnce);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < batches; i++) least = Math.min(least, spent(count) / count);
  return least;
}
