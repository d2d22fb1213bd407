// Words that depend on a number, for the languages that need it.

export const many = (n: number, one: string, other: string): string => `${n} ${n === 1 ? one : other}`;
