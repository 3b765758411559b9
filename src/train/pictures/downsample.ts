/** @file Thins a line to what its columns of pixels can show. */

/** Pixels. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * Of each column of one pixel the first, lowest, highest and last point, in order: the line covers
 * the same pixels. Points with x in rising order.
 */
export function downsample(points: readonly Point[]): Point[] {
  const kept: Point[] = [];
  for (let start = 0; start < points.length; ) {
    const column = Math.floor(points[start]!.x);
    let [end, low, high] = [start, start, start];
    for (; end < points.length && Math.floor(points[end]!.x) === column; end++) {
      if (points[end]!.y < points[low]!.y) low = end;
      if (points[end]!.y > points[high]!.y) high = end;
    }
    const chosen = new Set([start, Math.min(low, high), Math.max(low, high), end - 1]);
    for (const index of chosen) kept.push(points[index]!);
    start = end;
  }
  return kept;
}
