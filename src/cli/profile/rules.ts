/**
 * The user's rules for conversations, in the file `rules` of the profile: which are muted, and after what time their
 * messages disappear. They stay on this machine. A conversation is named by a contact's fingerprint, or
 * by `group:` and the id of a group.
 */
import { EXPIRES } from '../../client/format/message.ts'
import { parseNumber } from '../../client/format/field.ts'
import { Fields } from '../../profile/fields.ts'
import { makeFolder, readText, writeWhole } from '../disk/file.ts'
import { dirname } from 'node:path'

const MOST_BYTES = 1_048_576

export class Rules {
  readonly #path: string | undefined
  #fields: Fields

  private constructor(path: string | undefined, fields: Fields) {
    this.#path = path
    this.#fields = fields
  }

  /** @throws {CliError} if the file cannot be read */
  static async open(path: string): Promise<Rules> {
    return new Rules(path, new Fields(await readText(path, MOST_BYTES)))
  }

  /** Rules that no file keeps. */
  static empty(): Rules {
    return new Rules(undefined, new Fields())
  }

  /** Reads the file again. @throws {CliError} */
  async refresh(): Promise<void> {
    if (this.#path !== undefined) this.#fields = new Fields(await readText(this.#path, MOST_BYTES))
  }

  isMuted(conversation: string): boolean {
    return this.#fields.all('muted').includes(conversation)
  }

  /** Returns after how many seconds messages of the conversation disappear. */
  expiresOf(conversation: string): number | undefined {
    for (const line of this.#fields.all('expires')) {
      const [, seconds = '', named] = /^(\d+) (.+)$/.exec(line) ?? []
      if (named === conversation) return parseNumber(seconds, EXPIRES.least, EXPIRES.most)
    }
    return undefined
  }

  /** @throws {CliError} if the file cannot be written */
  async setMuted(conversation: string, isMuted: boolean): Promise<void> {
    await this.#change('muted', (lines) => [...lines.filter((each) => each !== conversation), ...(isMuted ? [conversation] : [])])
  }

  /** @param seconds undefined: messages stay @throws {CliError} if the file cannot be written */
  async setExpires(conversation: string, seconds: number | undefined): Promise<void> {
    await this.#change('expires', (lines) => [
      ...lines.filter((each) => !each.endsWith(` ${conversation}`)),
      ...(seconds === undefined ? [] : [`${seconds} ${conversation}`]),
    ])
  }

  async #change(name: string, change: (lines: readonly string[]) => readonly string[]): Promise<void> {
    await this.refresh()
    this.#fields.set(name, ...change(this.#fields.all(name)))
    if (this.#path === undefined) return
    await makeFolder(dirname(this.#path))
    await writeWhole(this.#path, this.#fields.toString(), { replace: true })
  }
}
