/** Spans of time as a user writes them: a whole number and a unit, such as `90s`, `30m`, `1h`, `7d` or `2w`. */

const UNITS = { s: 1, m: 60, h: 3_600, d: 86_400, w: 7 * 86_400 } as const

/** Parses a span. @returns seconds; undefined if it is malformed or out of bounds */
export function parseSpan(text: string, least: number, most: number): number | undefined {
  const [, count, unit] = /^([1-9]\d{0,7})([smhdw])$/.exec(text) ?? []
  if (count === undefined) return undefined
  const seconds = Number(count) * UNITS[unit as keyof typeof UNITS]
  return seconds < least || seconds > most ? undefined : seconds
}

/** Writes a span in its largest unit that gives a whole number. */
export function formatSpan(seconds: number): string {
  const [unit] = (['w', 'd', 'h', 'm'] as const).filter((each) => seconds % UNITS[each] === 0)
  return unit === undefined ? `${seconds}s` : `${seconds / UNITS[unit]}${unit}`
}
