/**
 * Which blocks of src/ have run, by V8's precise coverage. A search asks whether its last inputs reached a block that no
 * input before them reached.
 */
import { Session } from 'node:inspector'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

interface Range {
  readonly startOffset: number
  readonly endOffset: number
  readonly count: number
}

interface Result {
  readonly result: readonly {
    readonly scriptId: string
    readonly url: string
    readonly functions: readonly { readonly ranges: readonly Range[] }[]
  }[]
}

const SRC = `${pathToFileURL(join(import.meta.dirname, '../../src')).href}/`

export class Coverage {
  readonly #session = new Session()
  /** A byte for each character of a function: 1 if it has run. */
  #reached = new Map<string, Uint8Array>()
  #blocks = 0

  /** Begins to count. A module that was loaded before is counted by whole functions only. */
  start(): void {
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  stop(): void {
    this.#session.disconnect()
  }

  /** Blocks that have run so far. */
  get blocks(): number {
    return this.#blocks
  }

  /** Forgets which blocks have run. */
  reset(): void {
    this.#take()
    this.#reached = new Map()
    this.#blocks = 0
  }

  /**
   * Counts the blocks that ran since the last call, and never before.
   *
   * @param keep whether they count as reached from now on
   */
  take(keep: boolean): number {
    let fresh = 0
    for (const { scriptId, url, functions } of this.#take()) {
      if (!url.startsWith(SRC)) continue
      for (const { ranges } of functions) fresh += this.#read(scriptId, ranges, keep)
    }
    if (keep) this.#blocks += fresh
    return fresh
  }

  /** Reads the ranges of a function: the first is the whole function, each later one lies within an earlier one. */
  #read(scriptId: string, ranges: readonly Range[], keep: boolean): number {
    const [whole] = ranges
    if (whole === undefined || whole.count === 0) return 0
    const { startOffset: start, endOffset: end } = whole
    const key = `${scriptId} ${start} ${end}`
    const before = this.#reached.get(key)
    const now = before === undefined ? new Uint8Array(end - start) : before.slice()
    for (const { startOffset, endOffset, count } of ranges) {
      if (count > 0) now.fill(1, startOffset - start, endOffset - start)
      else if (before === undefined) now.fill(0, startOffset - start, endOffset - start)
      else now.set(before.subarray(startOffset - start, endOffset - start), startOffset - start)
    }
    let fresh = 0
    let was = true
    for (let at = 0; at < now.length; at++) {
      const isNew = now[at] === 1 && before?.[at] !== 1
      if (isNew && was) fresh++
      was = !isNew
    }
    if (keep && fresh > 0) this.#reached.set(key, now)
    return fresh
  }

  #take(): Result['result'] {
    let taken: Result['result'] = []
    this.#session.post('Profiler.takePreciseCoverage', (error: Error | null, answer: object) => {
      if (error !== null) throw error
      taken = (answer as Result).result
    })
    return taken
  }
}
