/** Maps data to drawing units, with the places where an axis is labelled. */
export interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
  /** Whether the scale can show the value at all (a logarithm has no zero). */
  shows(value: number): boolean;
}

/** Ticks at 1, 2 or 5 times a power of ten, from `low` to at least `high`. */
export function linearScale(low: number, high: number, range: readonly [number, number], wanted = 5): Scale {
  const span = high > low ? high - low : Math.abs(high) || 1;
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999) ?? raw;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil((low + span) / step - 1e-9));
  // Multiplied and not added up, so that 0.3 stays 0.3.
  const ticks = Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
  return {
    ticks,
    shows: Number.isFinite,
    at: mapped(ticks[0], ticks[ticks.length - 1], range),
  };
}

/** Whole powers of ten around the values; what lies lower is put on the lower edge. */
export function logScale(low: number, high: number, range: readonly [number, number]): Scale {
  const first = Math.floor(Math.log10(low) + 1e-9);
  const last = Math.max(first + 1, Math.ceil(Math.log10(high) - 1e-9));
  const every = Math.ceil((last - first) / 6);
  const ticks: number[] = [];
  for (let power = first; power <= last; power += every) ticks.push(10 ** power);
  const at = mapped(first, last, range);
  return {
    ticks,
    shows: (value) => value > 0 && Number.isFinite(value),
    at: (value) => at(Math.max(first, Math.log10(value))),
  };
}

function mapped(low: number, high: number, [from, to]: readonly [number, number]) {
  return (value: number): number => from + ((value - low) / (high - low)) * (to - from);
}

/** Up to `most` evenly spaced whole numbers of 0 .. count-1, always with 0. */
export function indexTicks(count: number, most: number): number[] {
  const raw = Math.max(1, (count - 1) / most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? 1);
  const ticks: number[] = [];
  for (let index = 0; index < count; index += step) ticks.push(index);
  return ticks;
}
