/** @file Numbers as people read them: bytes, counts, durations, shares. */

const byteUnits = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const;

/** `512 bytes`, `18.9 MB`; a kB has 1000 bytes. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit > 0 && value < 99.95 ? value.toFixed(1) : Math.round(value)} ${byteUnits[unit]}`;
}

/** `860 M` parameters, `1.07 G`, `12 k`. */
export function formatCount(count: number): string {
  for (const [unit, size] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (count >= size) return `${Number((count / size).toPrecision(3))} ${unit}`;
  }
  return String(count);
}

/** `3 images`, `1 image`. */
export function plural(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : nouns}`;
}

/** `0:07`, `12:34`, `1:02:03`; a run of days counts on in hours. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = two(whole % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** `12.5 %` of a share from 0 to 1; whole numbers from 10 % on. */
export function formatShare(share: number): string {
  const percent = share * 100;
  return `${percent >= 9.95 ? Math.round(percent) : Number(percent.toFixed(1))} %`;
}

/** A number to three digits: `0.0123`, `1.2e-7`. */
export function formatNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}
