import { expect, test } from "vitest";
import { thin } from "./marks.ts";

const mark = (at: number, text: string, refused = false) => ({ at, text, refused });

test("words of marks do not lie on one another", () => {
  const check = (marks: ReturnType<typeof mark>[], want: string[]) =>
    expect(thin(marks, 0, 1000).map((one) => one.text)).toEqual(want);
  check([mark(0, "cart 2, 10 %"), mark(500, "50 %")], ["cart 2, 10 %", "50 %"]);
  check([mark(0, "cart 2, 10 %"), mark(20, "50 %"), mark(90, "100 %")], ["cart 2, 10 %", "", "100 %"]);
  check([mark(20, "cart 3, no-go", true), mark(0, "cart 3, 10 %")], ["", "cart 3, no-go"]);
  check([mark(0, "a, no-go", true), mark(5, "b, no-go", true)], ["a, no-go", ""]);
  check([], []);
});
