// Linear and time axes: where a value lies, and which values deserve a label.

/** Round numbers that cover `low..high` in about `wanted` steps. */
export function ticks(low: number, high: number, wanted: number): number[] {
  if (!(high > low) || wanted < 1) return [low];
  const rough = (high - low) / wanted;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * magnitude).find((one) => one >= rough * 0.999) ?? magnitude * 10;
  const found: number[] = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1)
    found.push(Number((k * step).toPrecision(12)));
  return found;
}

const TIME_STEPS = [
  1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000,
  10_800_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 604_800_000,
];

/** Round moments between `start` and `end`, at most `wanted` of them. */
export function timeTicks(start: number, end: number, wanted: number, offsetMs = 0): number[] {
  const step = TIME_STEPS.find((one) => (end - start) / one <= wanted) ?? Math.ceil((end - start) / wanted);
  const found: number[] = [];
  for (let t = Math.ceil((start + offsetMs) / step) * step - offsetMs; t <= end; t += step) found.push(t);
  return found;
}

/** A linear map from values to a drawing's coordinates. */
export function linear(low: number, high: number, from: number, to: number): (value: number) => number {
  const width = high - low || 1;
  return (value) => from + ((value - low) / width) * (to - from);
}

/** The smallest and largest finite value, widened by `pad` of the span on both sides; null when there is none. */
export function extent(values: Iterable<number | null>, pad = 0.08): readonly [number, number] | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return null;
  const width = high - low || Math.abs(high) * 0.2 || 1;
  return [low - width * pad, high + width * pad];
}

/** An SVG path through points; a null value lifts the pen. */
export function linePath(points: readonly (readonly [number, number | null])[]): string {
  let path = "";
  let down = false;
  for (const [x, y] of points) {
    if (y === null || !Number.isFinite(y)) {
      down = false;
      continue;
    }
    path += `${down ? "L" : "M"}${round(x)} ${round(y)}`;
    down = true;
  }
  return path;
}

/** A closed path between an upper and a lower line over the same x. */
export function bandPath(points: readonly (readonly [number, number, number])[]): string {
  if (points.length === 0) return "";
  const there = points.map(([x, top], index) => `${index === 0 ? "M" : "L"}${round(x)} ${round(top)}`).join("");
  const back = [...points]
    .reverse()
    .map(([x, , bottom]) => `L${round(x)} ${round(bottom)}`)
    .join("");
  return `${there}${back}Z`;
}

export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
