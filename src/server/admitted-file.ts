/**
 * Follows the file of admitted keys. A relay looks at the file every few seconds and reads it when its inode, size or
 * times have changed: people replace files by renaming, and mounted folders send no signals. A file with a mistake
 * leaves the former list in force.
 */
import { readFileSync, statSync } from 'node:fs'
import { formatFingerprint } from '../auth/ssh-key.ts'
import { ConfigError, type Problem } from '../config/problem.ts'
import type { Log } from '../log.ts'
import type { Member } from '../relay/roster.ts'
import { type Admitted, parseAdmitted } from './admitted.ts'
import { describeMistake, type Mistake, MISTAKES } from './mistake.ts'

/** The time between two looks at the file. */
const LOOK_MS = 5_000
/** The file must stay unchanged for this long before the relay reads it: a program may write it bit by bit. */
const SETTLE_MS = 500
const MOST_BYTES = 64 * 2 ** 20
/** The most problems that a start reports. */
const MOST_PROBLEMS = 20

export interface AdmittedFileOptions {
  readonly onList: (members: readonly Member[]) => void
  readonly log: Log
  readonly lookMs?: number
  readonly settleMs?: number
}

export class AdmittedFile {
  readonly #path: string
  readonly #options: AdmittedFileOptions
  /** The state of the file at the last look. */
  #seen: string
  /** The state of the file when it was last read. */
  #read: string
  /** Fingerprints of the list in force. */
  #known: ReadonlySet<string>
  #mistakes: readonly Mistake[] = []
  #timer: NodeJS.Timeout | undefined
  /** The list that the file held when the relay started. */
  readonly first: readonly Member[]

  /** Reads the file. @throws {ConfigError} that names the mistakes */
  constructor(path: string, options: AdmittedFileOptions) {
    this.#path = path
    this.#options = options
    this.#known = new Set()
    this.#seen = this.#read = this.#look()
    const { entries, mistakes } = this.#parse()
    if (mistakes.length > 0) throw new ConfigError(buildProblems(mistakes))
    this.first = entries.map(toMember)
    this.#know(this.first)
  }

  /** Begins to look at the file. Ends with `stop`. */
  follow(): void {
    const { lookMs = LOOK_MS, settleMs = SETTLE_MS } = this.#options
    const look = (): void => {
      const now = this.#look()
      const isSettled = now === this.#seen
      this.#seen = now
      if (isSettled && now !== this.#read) this.reload()
      this.#timer = setTimeout(look, isSettled ? lookMs : settleMs).unref()
    }
    this.#timer = setTimeout(look, lookMs).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** The mistake for which the former list is still in force; undefined if the list is that of the file. */
  get problem(): string | undefined {
    const [first, ...more] = this.#mistakes
    if (first === undefined) return undefined
    return describeMistake(first) + (more.length === 0 ? '' : `; mistakes in ${more.length} more line${more.length === 1 ? '' : 's'}`)
  }

  /** Reads the file now, and puts its list in force unless it has a mistake. */
  reload(): void {
    const before = this.#look()
    const { entries, mistakes } = this.#parse()
    const after = this.#look()
    this.#read = before
    // A program wrote into the file meanwhile. `follow` reads it when it has settled.
    if (before !== after) return
    this.#mistakes = mistakes
    const { log, onList } = this.#options
    const [mistake] = mistakes
    if (mistake !== undefined) {
      const { line, what } = mistake
      return log.event('admit-reloaded', { ok: false, mistake: what, ...(line !== undefined && { line }) })
    }
    const members = entries.map(toMember)
    this.#know(members)
    onList(members)
    log.event('admit-reloaded', { ok: true })
  }

  #know(members: readonly Member[]): void {
    this.#known = new Set(members.map(({ fingerprint }) => formatFingerprint(fingerprint)))
  }

  #look(): string {
    try {
      const { ino, size, mtimeMs, ctimeMs } = statSync(this.#path)
      return [ino, size, mtimeMs, ctimeMs].join()
    } catch {
      return 'unreadable'
    }
  }

  #parse(): Admitted {
    const refused = (what: Mistake['what']): Admitted => ({ entries: [], mistakes: [{ line: undefined, what }] })
    try {
      const stat = statSync(this.#path)
      // Opening a pipe would block.
      if (!stat.isFile()) return refused('unreadable')
      if (stat.size > MOST_BYTES) return refused('too-large')
      return parseAdmitted(readFileSync(this.#path), (fingerprint) => this.#known.has(fingerprint))
    } catch {
      return refused('unreadable')
    }
  }
}

/** Leaves the number of the line out: the relay does not need it. */
function toMember({ line: _line, ...member }: Member & { readonly line: number }): Member {
  return member
}

function buildProblems(mistakes: readonly Mistake[]): Problem[] {
  const problems = mistakes.slice(0, MOST_PROBLEMS).map((mistake): Problem => ({
    key: 'admit',
    problem: describeMistake(mistake),
    hint: MISTAKES[mistake.what][1],
  }))
  const more = mistakes.length - problems.length
  if (more > 0) problems.push({ key: 'admit', problem: `${more} more lines have mistakes`, hint: '`asfaleia admit check` lists all' })
  return problems
}
