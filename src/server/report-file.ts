/**
 * Reads a small file that another program renews, and tells how old its content is. The age counts by a monotonic clock,
 * so it stays right when the clock of the machine is set.
 */
import { lstatSync, readFileSync } from 'node:fs'
import type { Report } from '../operator/reachability.ts'

/** The longest report. */
const REPORT_BYTES = 128

export class ReportFile {
  readonly #path: string
  readonly #now: () => number
  readonly #wall: () => number
  /** What told the last content from others; undefined before the first look. */
  #seen: string | undefined
  /** ms, by the monotonic clock. */
  #since = 0
  #lookedAt: number | undefined

  constructor(path: string, clocks: { readonly now?: () => number; readonly wall?: () => number } = {}) {
    this.#path = path
    this.#now = clocks.now ?? (() => performance.now())
    this.#wall = clocks.wall ?? Date.now
  }

  /** Returns undefined if there is no file, or a file that is too long. */
  read(): Report | undefined {
    try {
      const { ino, size, mtimeMs } = lstatSync(this.#path)
      if (size > REPORT_BYTES) return undefined
      const text = readFileSync(this.#path, 'latin1')
      const now = this.#now()
      const seen = `${ino} ${size} ${mtimeMs}`
      if (seen !== this.#seen) {
        // The file changed since the last look, so no clock makes it older than that.
        const most = this.#lookedAt === undefined ? Infinity : now - this.#lookedAt
        this.#since = now - Math.min(most, Math.max(0, this.#wall() - mtimeMs))
        this.#seen = seen
      }
      this.#lookedAt = now
      return { text, ageSeconds: (now - this.#since) / 1_000 }
    } catch {
      return undefined
    }
  }
}
