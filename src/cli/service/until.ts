/** Dates at which rights end, as an operator writes them on the command line. */
import { UsageError } from '../program/error.ts'

const UNITS = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const
const DAY = UNITS.d
/** A date in four digits of the year. */
const LAST = Date.UTC(9999, 11, 31)

/**
 * Parses a time from now, as `30d`, or a date, as `2027-01-31`: the right ends with that day in UTC.
 *
 * @returns ms since 1970, a whole second
 * @throws {UsageError}
 */
export function parseUntil(text: string, now: number): number {
  const time = parseSpan(text, now) ?? parseDay(text)
  if (time === undefined) throw new UsageError('--until: expected a time from now, such as 30d, or a date, such as 2027-01-31')
  if (time <= now || time > LAST) throw new UsageError('--until: that date is over, or too far away', { hint: 'name a date to come' })
  return time
}

function parseSpan(text: string, now: number): number | undefined {
  const [, count, unit] = /^([1-9]\d{0,5})([hdw])$/.exec(text) ?? []
  if (count === undefined) return undefined
  return Math.ceil((now + Number(count) * UNITS[unit as keyof typeof UNITS]) / 1_000) * 1_000
}

function parseDay(text: string): number | undefined {
  const day = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  return Number.isNaN(day) || new Date(day).toISOString().slice(0, 10) !== text ? undefined : day + DAY
}

/** Writes a time as `2027-01-31 12:00 UTC`. */
export function formatUntil(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}
