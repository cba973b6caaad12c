/**
 * The people whom the user has blocked: a text file with a fingerprint and a name on each line. Blocking is a matter of
 * this profile alone: no relay and no blocked person learns of it.
 */
import { isFingerprint } from '../../client/format/field.ts'
import { readText, writeWhole } from '../disk/file.ts'
import { CliError } from '../program/error.ts'

export interface BlockedPerson {
  /** `SHA256:…` */
  readonly fingerprint: string
  /** The name at the time, which may be a stranger's own. */
  readonly name: string
}

const MOST_BYTES = 1_048_576

export class Blocked {
  readonly #path: string
  #people: ReadonlyMap<string, BlockedPerson> = new Map()

  private constructor(path: string) {
    this.#path = path
  }

  /** Reads the file, which need not exist. @throws {CliError} if it cannot be read */
  static async open(path: string): Promise<Blocked> {
    const blocked = new Blocked(path)
    await blocked.refresh()
    return blocked
  }

  /** Returns an empty list without a file. */
  static empty(): Blocked {
    return new Blocked('')
  }

  /** Reads the file again. @throws {CliError} */
  async refresh(): Promise<void> {
    if (this.#path === '') return
    const lines = ((await readText(this.#path, MOST_BYTES)) ?? '').split(/\r?\n/)
    this.#people = new Map(
      lines.flatMap((line) => {
        const [, fingerprint = '', name = ''] = /^\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? []
        return isFingerprint(fingerprint) ? [[fingerprint, { fingerprint, name }]] : []
      }),
    )
  }

  has(fingerprint: string): boolean {
    return this.#people.has(fingerprint)
  }

  list(): BlockedPerson[] {
    return [...this.#people.values()]
  }

  /** @throws {CliError} if the file cannot be written */
  async add(fingerprint: string, name: string): Promise<void> {
    await this.refresh()
    await this.#write(new Map(this.#people).set(fingerprint, { fingerprint, name }))
  }

  /** @throws {CliError} if the file cannot be written */
  async remove(fingerprint: string): Promise<void> {
    await this.refresh()
    const people = new Map(this.#people)
    people.delete(fingerprint)
    await this.#write(people)
  }

  async #write(people: ReadonlyMap<string, BlockedPerson>): Promise<void> {
    if (this.#path === '') throw new CliError('there is no folder for the list of blocked people', { hint: 'set HOME or ASFALEIA_HOME' })
    const text = [...people.values()].map(({ fingerprint, name }) => `${fingerprint} ${name}\n`).join('')
    await writeWhole(this.#path, text, { replace: true })
    this.#people = people
  }
}
