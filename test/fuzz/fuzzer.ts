/**
 * The search of one target: mutates kept inputs, runs them in batches, and keeps those that reach a new block or a new
 * outcome. Reports each finding once, with the smallest input that shows it.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Coverage } from './coverage.ts'
import { mutate, stretch } from './mutation.ts'
import type { Random } from './random.ts'
import { bytesOf, LONGEST, type Target } from './target.ts'

/** One batch runs this long, so that asking V8 for its coverage takes a small part of the time. */
const BATCH_MS = 12
const BATCH = 512
/** An input that takes more CPU time is a finding. */
const SLOW_MS = 250
/** How often a slow input is measured at most. */
const MEASURED = 3
/** One of so many inputs is stretched to this length. */
const STRETCHED = 400
const STRETCHED_BYTES = 65_536
/** Runs that look for a smaller input with the same finding. */
const SHRINKS = 2_000
/** The most inputs, and the longest one, that the corpus keeps for CI. */
const KEPT = 96
const KEPT_BYTES = 4_096

export interface Finding {
  readonly input: Uint8Array
  readonly text: string
}

export interface Progress {
  readonly runs: number
  readonly blocks: number
  readonly outcomes: number
  readonly kept: number
  /** Seconds since the search began, and since it last found a new block or outcome. */
  readonly seconds: number
  readonly still: number
  readonly slowest: number
}

export class Fuzzer {
  readonly #target: Target
  readonly #random: Random
  readonly #coverage: Coverage
  readonly #words: Uint8Array[]
  readonly #kept: Uint8Array<ArrayBuffer>[] = []
  readonly #outcomes = new Set<string>()
  readonly #found = new Set<string>()
  readonly #onInput: (input: Uint8Array) => void
  readonly #onFinding: (finding: Finding) => void
  #runs = 0
  #slowest = 0
  /** Blocks that ran while the modules were loaded. */
  #loaded = 0
  readonly #began = performance.now()
  #gained = this.#began

  /**
   * @param coverage already started, before the target's modules were loaded
   * @param onInput called before each run
   */
  constructor(
    target: Target,
    options: {
      readonly random: Random
      readonly coverage: Coverage
      onInput(input: Uint8Array): void
      onFinding(finding: Finding): void
    },
  ) {
    this.#target = target
    this.#random = options.random
    this.#coverage = options.coverage
    this.#onInput = (input) => options.onInput(input)
    this.#onFinding = (finding) => options.onFinding(finding)
    this.#words = findWords(target)
  }

  get progress(): Progress {
    const now = performance.now()
    return {
      runs: this.#runs,
      blocks: this.#coverage.blocks - this.#loaded,
      outcomes: this.#outcomes.size,
      kept: this.#kept.length,
      seconds: (now - this.#began) / 1_000,
      still: (now - this.#gained) / 1_000,
      slowest: this.#slowest,
    }
  }

  /** Runs the first inputs, and keeps each that reaches something new. */
  async begin(inputs: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    this.#coverage.take(true)
    this.#loaded = this.#coverage.blocks
    for (const input of inputs) {
      const isNew = await this.#run(input)
      if (this.#coverage.take(true) > 0 || isNew) this.#keep(input)
    }
    if (this.#kept.length === 0) this.#kept.push(new Uint8Array(0))
  }

  /** Searches until the time (of `performance.now`). */
  async search(until: number): Promise<void> {
    while (performance.now() < until) {
      const batch: Uint8Array<ArrayBuffer>[] = []
      const end = performance.now() + BATCH_MS
      do {
        const input = this.#make()
        batch.push(input)
        if (await this.#run(input)) this.#keep(input)
      } while (batch.length < BATCH && performance.now() < end)
      if (this.#coverage.take(batch.length === 1) > 0) await this.#divide(batch)
    }
  }

  /** Chooses the few inputs that reach every block and outcome, short ones first. */
  async distill(): Promise<Uint8Array[]> {
    const chosen: Uint8Array[] = []
    this.#coverage.reset()
    this.#outcomes.clear()
    for (const input of this.#kept.toSorted((a, b) => a.length - b.length)) {
      if (input.length > KEPT_BYTES) continue
      const isNew = await this.#run(input)
      if (this.#coverage.take(true) > 0 || isNew) chosen.push(input)
    }
    return chosen.length > KEPT
      ? chosen.filter((_, n) => Math.floor((n * KEPT) / chosen.length) !== Math.floor(((n - 1) * KEPT) / chosen.length))
      : chosen
  }

  #make(): Uint8Array<ArrayBuffer> {
    const random = this.#random
    // Half of the choices are among the newest inputs.
    const count = this.#kept.length
    if (random(STRETCHED) === 0) return stretch(this.#kept[random(count)]!, random, this.#target.stretched ?? STRETCHED_BYTES)
    const at = random(2) === 0 ? random(count) : Math.max(0, count - 1 - random(16))
    return mutate(this.#kept[at]!, {
      random,
      other: this.#kept[random(count)]!,
      words: this.#words,
      longest: this.#target.longest ?? LONGEST,
    })
  }

  /** Finds the inputs of a batch that reach new blocks. */
  async #divide(batch: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    if (batch.length === 1) return this.#keep(batch[0]!)
    const middle = batch.length >>> 1
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      for (const input of half) await this.#run(input)
      if (this.#coverage.take(half.length === 1) > 0) await this.#divide(half)
    }
  }

  #keep(input: Uint8Array<ArrayBuffer>): void {
    this.#kept.push(input)
    this.#gained = performance.now()
  }

  /** @returns whether the outcome is new */
  async #run(input: Uint8Array<ArrayBuffer>): Promise<boolean> {
    this.#runs++
    this.#onInput(input)
    const began = performance.now()
    let outcome: string
    try {
      const result = this.#target.run(input.slice())
      outcome = typeof result === 'string' ? result : await result
    } catch (error) {
      await this.#report(input, error)
      return false
    }
    const took = performance.now() - began
    if (took > this.#slowest) await this.#time(input, took)
    if (this.#outcomes.has(outcome)) return false
    if (this.#outcomes.size > 2_000) throw new Error(`${this.#target.name} has too many outcomes, such as ${outcome}`)
    this.#outcomes.add(outcome)
    return true
  }

  /** Measures a slow input again, by the CPU time of its fastest run: other programs share the processor and its caches. */
  async #time(input: Uint8Array<ArrayBuffer>, took: number): Promise<void> {
    if (took <= SLOW_MS) {
      this.#slowest = took
      return
    }
    let spent = Infinity
    for (let run = 0; run < MEASURED && spent > SLOW_MS; run++) {
      const before = process.threadCpuUsage()
      await this.#target.run(input.slice())
      const { user, system } = process.threadCpuUsage(before)
      spent = Math.min(spent, (user + system) / 1_000)
    }
    this.#slowest = Math.max(this.#slowest, spent)
    if (spent <= SLOW_MS || this.#found.has('slow')) return
    this.#found.add('slow')
    this.#onFinding({ input, text: `slow: ${Math.round(spent)} ms of CPU time` })
  }

  async #report(input: Uint8Array<ArrayBuffer>, error: unknown): Promise<void> {
    const signature = sign(error)
    if (this.#found.has(signature)) return
    this.#found.add(signature)
    let least = input
    for (let n = 0, size = Math.ceil(input.length / 2); n < SHRINKS && size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; at < least.length && n < SHRINKS; n++) {
        const shorter = Uint8Array.from([...least.subarray(0, at), ...least.subarray(at + size)])
        if (await this.#shows(shorter, signature)) least = shorter
        else at += size
      }
    }
    this.#onFinding({ input: least, text: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }

  async #shows(input: Uint8Array<ArrayBuffer>, signature: string): Promise<boolean> {
    this.#onInput(input)
    try {
      await this.#target.run(input.slice())
      return false
    } catch (error) {
      return sign(error) === signature
    }
  }
}

/** Names a finding by its kind and place. */
function sign(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const place = /^ +at .*?\/(?:src|node_modules)\/.*$/m.exec(error.stack ?? '')?.[0].trim() ?? ''
  return `${error.name} ${error.message.replaceAll(/"[^]*|\d+/g, '')} ${place}`
}

/** Returns the string literals of a target's sources. */
function findWords({ covers }: Target): Uint8Array[] {
  const words = new Set<string>()
  for (const path of covers) {
    const text = readFileSync(join(import.meta.dirname, '../../src', path), 'utf8')
    for (const [, word = ''] of text.matchAll(/['`]((?:[^'`\\\n$]|\\[nr0\\'])+)['`]/g)) {
      if (word.length <= 40 && !word.startsWith('.') && !word.startsWith('node:')) words.add(word)
    }
  }
  return [...words].map((word) => bytesOf(Buffer.from(word.replaceAll('\\n', '\n').replaceAll('\\r', '\r').replaceAll('\\0', '\0'))))
}
