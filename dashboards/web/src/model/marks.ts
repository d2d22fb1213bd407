// Marks on a chart of time: what happened then.

export interface TimeMark {
  readonly at: number;
  readonly text: string;
  readonly refused: boolean;
}

/** Part of a chart's width that a character takes, on a chart of the usual width. */
const CHARACTER = 0.007;

/** Leaves the words of marks out that would lie on those before them; a refusal goes before all others. */
export function thin(marks: readonly TimeMark[], start: number, end: number): TimeMark[] {
  const shown: TimeMark[] = [];
  for (const mark of [...marks].sort((a, b) => a.at - b.at)) {
    const last = shown.findLastIndex((one) => one.text !== "");
    const before = shown[last];
    const isFree = !before || mark.at >= before.at + before.text.length * CHARACTER * (end - start);
    if (before && !isFree && mark.refused && !before.refused) shown[last] = { ...before, text: "" };
    shown.push(isFree || (mark.refused && !before?.refused) ? mark : { ...mark, text: "" });
  }
  return shown;
}
