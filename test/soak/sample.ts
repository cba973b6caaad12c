/** The memory and the descriptors of processes over time, and whether they are flat. */
import { readdirSync, readFileSync } from 'node:fs'

export interface Sample {
  /** The part of the soak that is over, from 0 to 1. */
  readonly at: number
  /** Resident memory, bytes. */
  readonly resident: number
  readonly descriptors: number
}

/** Memory in use after a collection, bytes. */
export interface Live {
  readonly at: number
  readonly live: number
}

/** The medians of the second and of the last quarter. */
export interface Trend {
  readonly before: number
  readonly after: number
}

/** The most growth from the second to the last quarter. */
export const MOST_GROWTH = 0.05
/** The most descriptors by which the medians may differ: connections for sending come and go. */
const MOST_DESCRIPTORS = 2

const PAGE = 4_096

/** @returns undefined if the process has ended */
export function sample(pid: number, at: number): Sample | undefined {
  try {
    const pages = readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]
    return { at, resident: Number(pages) * PAGE, descriptors: readdirSync(`/proc/${pid}/fd`).length }
  } catch {
    return undefined
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length === 0 ? Number.NaN : (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2
}

/** Compares the second quarter of a soak with its last. The first quarter is the warm-up. */
export function trendOf<T extends { readonly at: number }>(samples: readonly T[], value: (sample: T) => number): Trend {
  const between = (from: number, to: number): number => median(samples.filter(({ at }) => at >= from && at < to).map(value))
  return { before: between(0.25, 0.5), after: between(0.75, 1) }
}

export const growthOf = ({ before, after }: Trend): number => after / before - 1

/** Returns why the process is not flat: each reason as the end of a sentence. */
export function judge(resident: Trend, descriptors: Trend): string[] {
  const reasons: string[] = []
  if (!(resident.after <= resident.before * (1 + MOST_GROWTH)))
    reasons.push(`its memory grew by ${(growthOf(resident) * 100).toFixed(1)} %`)
  const more = descriptors.after - descriptors.before
  const most = Math.max(MOST_DESCRIPTORS, MOST_GROWTH * descriptors.before)
  if (!(more <= most)) reasons.push(`it has ${more} more open descriptors`)
  return reasons
}
