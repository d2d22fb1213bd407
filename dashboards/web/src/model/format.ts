// Every number, span and time that a page shows is written here, and only here.
// A number and its unit never part at a line's end, so they are joined by a no-break space.

export type Language = "en" | "zh-CN";
export type Zone = "utc" | "local";

const NBSP = "\u00a0";
const MINUS = "\u2212";
export const NONE = "–";

/** Writes `value` with `digits` decimals, thousands grouped, a true minus sign. */
export function fixed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  const [whole = "0", part] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const body = part ? `${grouped}.${part}` : grouped;
  return value < 0 && Number(text) !== 0 ? MINUS + body : body;
}

/** Decimals that leave three figures of a number of this size. */
export function digitsFor(size: number, figures = 3): number {
  if (!Number.isFinite(size) || size === 0) return 0;
  const lead = Math.floor(Math.log10(Math.abs(size)));
  return Math.min(12, Math.max(0, figures - 1 - lead));
}

/** A bare number in three figures; whole numbers are written whole. */
export function plain(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : `${MINUS}Inf`;
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return fixed(value, 0);
  if (value !== 0 && (Math.abs(value) < 1e-5 || Math.abs(value) >= 1e15)) return scientific(value, 3);
  return fixed(value, digitsFor(value));
}

const SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** 10 to a whole power, in superscript. */
export function power(exponent: number): string {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPER[Number(digit)]).join("");
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}

function scientific(value: number, figures: number): string {
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  return `${fixed(value / 10 ** exponent, figures - 1)}${NBSP}×${NBSP}${power(exponent)}`;
}

/** A probability: two figures, scientific below 0.00001. */
export function probability(p: number | null): string {
  if (p === null) return NONE;
  if (p === 0) return "0";
  if (p < 1e-5) return scientific(p, 2);
  return trimmed(fixed(p, Math.min(7, digitsFor(p, 2))));
}

/** Drops zeros that say nothing after the point. */
function trimmed(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** A ratio of two rates: two decimals below ten, then fewer. */
export function ratio(value: number): string {
  return fixed(value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

/** Counts: 4.60 M, 701 k, 1,204. Chinese keeps SI prefixes, as metric values do. */
export function count(value: number | null): string {
  if (value === null) return NONE;
  const size = Math.abs(value);
  if (size < 10_000) return Number.isInteger(value) ? fixed(value, 0) : plain(value);
  const steps: readonly (readonly [number, string])[] = [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ];
  const [scale, letter] = steps.find(([one]) => size >= one) ?? [1, ""];
  return `${fixed(value / scale, digitsFor(value / scale))}${NBSP}${letter}`;
}

/** Sizes in IEC units. */
export function bytes(value: number | null): string {
  if (value === null) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let step = 0;
  let size = value;
  while (Math.abs(size) >= 1024 && step < units.length - 1) {
    size /= 1024;
    step += 1;
  }
  return `${fixed(size, step === 0 ? 0 : digitsFor(size))}${NBSP}${units[step]}`;
}

interface Scale {
  readonly factor: number;
  readonly unit: string;
}

const SECONDS: ReadonlySet<string> = new Set(["s", "seconds", "second"]);
const MILLIS: ReadonlySet<string> = new Set(["ms", "milliseconds"]);
const BYTES: ReadonlySet<string> = new Set(["bytes", "byte", "B"]);
const SHARES: ReadonlySet<string> = new Set(["ratio", "share", "fraction"]);

/** Chooses the scale in which numbers of this size read best: seconds become ms, bytes MiB, shares percent. */
export function scaleFor(size: number, unit: string): Scale {
  const abs = Math.abs(size);
  if (SHARES.has(unit)) return { factor: 100, unit: "%" };
  if (unit === "relative" || unit === "percent" || unit === "%")
    return { factor: unit === "relative" ? 100 : 1, unit: "%" };
  if (SECONDS.has(unit)) {
    if (abs > 0 && abs < 1e-3) return { factor: 1e6, unit: "µs" };
    if (abs < 1) return { factor: 1e3, unit: "ms" };
    return { factor: 1, unit: "s" };
  }
  if (MILLIS.has(unit)) return abs >= 1000 ? { factor: 1e-3, unit: "s" } : { factor: 1, unit: "ms" };
  if (BYTES.has(unit)) {
    const step = abs < 1 ? 0 : Math.min(5, Math.floor(Math.log2(abs) / 10));
    return { factor: 1024 ** -step, unit: ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][step] ?? "B" };
  }
  if (unit === "min") return { factor: 1, unit: "min" };
  // Words of the judge for a number whose unit it does not know.
  if (unit === "value" || unit === "per exposure") return { factor: 1, unit: "" };
  return { factor: 1, unit: rate(unit) };
}

function rate(unit: string): string {
  const match = /^(.*?)\s*(?:\/|per)\s*(\w+)$/.exec(unit);
  return match ? `${match[1] && match[1] !== "1" ? `${match[1]}${NBSP}` : ""}/${NBSP}${match[2]}` : unit;
}

/** One measured value with its unit. */
export function measured(value: number | null, unit: string): string {
  if (value === null) return NONE;
  const scale = scaleFor(value, unit);
  const scaled = value * scale.factor;
  const text = scale.unit === "" ? plain(scaled) : fixed(scaled, Math.min(6, digitsFor(scaled)));
  return joined(text, scale.unit);
}

/** Both sides in one unit, with as many decimals as it takes to tell them apart. */
export function measuredPair(a: number | null, b: number | null, unit: string): readonly [string, string] {
  const known = [a, b].filter((one): one is number => one !== null);
  if (known.length < 2) return [measured(a, unit), measured(b, unit)];
  const size = Math.max(...known.map(Math.abs));
  const scale = scaleFor(size, unit);
  const [x, y] = known.map((one) => one * scale.factor) as [number, number];
  const apart = Math.abs(x - y);
  const wanted = Math.max(digitsFor(size * scale.factor), apart > 0 ? digitsFor(apart, 1) : 0);
  const digits =
    Number.isInteger(x) && Number.isInteger(y) && scale.unit === ""
      ? 0
      : Math.min(6, wanted, digitsFor(size * scale.factor, 5));
  const texts = [fixed(x, digits), fixed(y, digits)] as const;
  const shorter = [trimmed(texts[0]), trimmed(texts[1])].map((one) => one.split(".")[1]?.length ?? 0);
  const kept = Math.max(...shorter);
  return [joined(fixed(x, kept), scale.unit), joined(fixed(y, kept), scale.unit)];
}

function joined(text: string, unit: string): string {
  return unit === "" ? text : `${text}${NBSP}${unit}`;
}

/** The unit in which a difference is written. Differences of shares are points, relative ones percent. */
export function effectScale(effect: { unit: string; measure: string }, size: number): Scale {
  if (isRelative(effect)) return { factor: 100, unit: "%" };
  if (SHARES.has(effect.unit)) return { factor: 100, unit: "pp" };
  return scaleFor(size, effect.unit);
}

export function isRelative(effect: { unit: string; measure: string }): boolean {
  return effect.unit === "relative" || effect.measure === "relative" || effect.measure === "relative_difference";
}

export interface EffectText {
  readonly estimate: string;
  readonly low: string;
  readonly high: string;
  /** "−6.0 to +9.7 %", or one-sided in words of the caller's dictionary. */
  readonly range:
    | { kind: "both"; low: string; high: string }
    | { kind: "at_most"; high: string }
    | { kind: "at_least"; low: string }
    | { kind: "none" };
  readonly margin: string;
}

/** Writes an effect, its interval and its margin in one unit with one number of decimals. */
export function effectText(
  effect: { estimate: number | null; low: number | null; high: number | null; unit: string; measure: string },
  margin: number | null,
  harm: "up" | "down" | "either",
): EffectText {
  const ends = [effect.low, effect.high, effect.estimate].filter((one): one is number => one !== null);
  const size = Math.max(0, ...ends.map(Math.abs));
  const scale = effectScale(effect, size === 0 ? (margin ?? 0) : size);
  const figures = Math.min(8, digitsFor((size === 0 ? (margin ?? 0) : size) * scale.factor, 2));
  const bare = (value: number) => signed(value * scale.factor, figures);
  const whole = (value: number | null) => (value === null ? NONE : joined(bare(value), scale.unit));
  const range: EffectText["range"] =
    effect.low !== null && effect.high !== null
      ? { kind: "both", low: bare(effect.low), high: whole(effect.high) }
      : effect.high !== null
        ? { kind: "at_most", high: whole(effect.high) }
        : effect.low !== null
          ? { kind: "at_least", low: whole(effect.low) }
          : { kind: "none" };
  return {
    estimate: whole(effect.estimate),
    low: whole(effect.low),
    high: whole(effect.high),
    range,
    margin: marginText(effect, margin, harm),
  };
}

function marginText(
  effect: { unit: string; measure: string },
  margin: number | null,
  harm: "up" | "down" | "either",
): string {
  if (margin === null) return NONE;
  const scale = effectScale(effect, margin);
  const scaled = margin * scale.factor;
  const text = fixed(scaled, Number.isInteger(Math.round(scaled * 1e9) / 1e9) ? 0 : Math.min(8, digitsFor(scaled, 2)));
  const sign = { up: "+", down: MINUS, either: "±" }[harm];
  return joined(sign + text, scale.unit);
}

export function signed(value: number, digits: number): string {
  const text = fixed(value, digits);
  return value > 0 && Number(value.toFixed(digits)) !== 0 ? `+${text}` : text;
}

/** A share of traffic: 1 %, 19.9 %, 0.5 %. */
export function percent(share: number | null, figures = 3): string {
  if (share === null) return NONE;
  const value = share * 100;
  return joined(trimmed(fixed(value, Math.min(3, digitsFor(value, figures)))), "%");
}

const SPAN_UNITS: Readonly<Record<Language, readonly [string, string, string, string, string]>> = {
  en: ["d", "h", "min", "s", "ms"],
  "zh-CN": ["天", "小时", "分", "秒", "毫秒"],
};

/** A span in its two largest units: "1 h 8 min", "42 min", "8.4 s", "84 ms". */
export function span(ms: number | null, language: Language): string {
  if (ms === null || !Number.isFinite(ms)) return NONE;
  const [d, h, min, s, milli] = SPAN_UNITS[language];
  const abs = Math.abs(ms);
  const sign = ms < 0 ? MINUS : "";
  const one = (value: string, unit: string) => `${sign}${value}${NBSP}${unit}`;
  const two = (a: number, ua: string, b: number, ub: string) =>
    b === 0 ? one(String(a), ua) : `${one(String(a), ua)}${NBSP}${b}${NBSP}${ub}`;
  if (abs < 1000) return one(fixed(abs, abs < 10 && !Number.isInteger(abs) ? 1 : 0), milli);
  if (abs < 59_950) return one(fixed(abs / 1000, abs < 10_000 && abs % 1000 >= 50 ? 1 : 0), s);
  const seconds = Math.round(abs / 1000);
  if (seconds < 3600)
    return seconds < 600
      ? two(Math.floor(seconds / 60), min, seconds % 60, s)
      : one(String(Math.round(seconds / 60)), min);
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return two(Math.floor(minutes / 60), h, minutes % 60, min);
  const hours = Math.round(minutes / 60);
  return two(Math.floor(hours / 24), d, hours % 24, h);
}

interface Parts {
  readonly y: number;
  readonly mo: number;
  readonly d: number;
  readonly wd: number;
  readonly h: number;
  readonly mi: number;
  readonly s: number;
  readonly ms: number;
}

function parts(t: number, zone: Zone): Parts {
  const at = new Date(t);
  return zone === "utc"
    ? {
        y: at.getUTCFullYear(),
        mo: at.getUTCMonth(),
        d: at.getUTCDate(),
        wd: at.getUTCDay(),
        h: at.getUTCHours(),
        mi: at.getUTCMinutes(),
        s: at.getUTCSeconds(),
        ms: at.getUTCMilliseconds(),
      }
    : {
        y: at.getFullYear(),
        mo: at.getMonth(),
        d: at.getDate(),
        wd: at.getDay(),
        h: at.getHours(),
        mi: at.getMinutes(),
        s: at.getSeconds(),
        ms: at.getMilliseconds(),
      };
}

const two = (value: number): string => String(value).padStart(2, "0");

export type ClockDetail = "minute" | "second" | "milli";

/** The time of day on a 24 h clock. */
export function clock(t: number | null, zone: Zone, detail: ClockDetail = "minute"): string {
  if (t === null) return NONE;
  const at = parts(t, zone);
  const base = `${two(at.h)}:${two(at.mi)}`;
  if (detail === "minute") return base;
  const seconds = `${base}:${two(at.s)}`;
  return detail === "second" ? seconds : `${seconds}.${String(at.ms).padStart(3, "0")}`;
}

/** Date and time as one writes them into the range's fields: 2026-11-19 12:00. */
export function stamp(t: number, zone: Zone, detail: ClockDetail = "minute"): string {
  const at = parts(t, zone);
  return `${at.y}-${two(at.mo + 1)}-${two(at.d)} ${clock(t, zone, detail)}`;
}

const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const WEEKDAYS: Readonly<Record<Language, readonly string[]>> = {
  en: ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
  "zh-CN": ["周日", "周一", "周二", "周三", "周四", "周五", "周六"],
};

/** "19 November", or "11 月 19 日". */
export function day(t: number, zone: Zone, language: Language): string {
  const at = parts(t, zone);
  return language === "en" ? `${at.d}${NBSP}${MONTHS[at.mo]}` : `${at.mo + 1}${NBSP}月${NBSP}${at.d}${NBSP}日`;
}

/** "Thu 19", for an axis of days. */
export function weekday(t: number, zone: Zone, language: Language): string {
  const at = parts(t, zone);
  return `${WEEKDAYS[language][at.wd]}${NBSP}${at.d}`;
}

/** The first moment of the day that `t` lies in. */
export function startOfDay(t: number, zone: Zone): number {
  if (zone === "utc") return t - (((t % 86_400_000) + 86_400_000) % 86_400_000);
  const at = new Date(t);
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}

/** Clock alone when `t` is today, otherwise with its day. */
export function moment(
  t: number | null,
  now: number,
  zone: Zone,
  language: Language,
  detail: ClockDetail = "minute",
): string {
  if (t === null) return NONE;
  if (startOfDay(t, zone) === startOfDay(now, zone)) return clock(t, zone, detail);
  return `${day(t, zone, language)} ${clock(t, zone, detail)}`;
}
