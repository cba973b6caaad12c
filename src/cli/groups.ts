/** The groups that one belongs to: a folder of files, each a group as its maker signed it, and lines of ours after it. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Card } from '../client/card.ts'
import { fingerprintOf } from '../client/field.ts'
import { compareGroups, type Group, type GroupChange, GroupError, parseGroup } from '../client/group.ts'
import { fold, listNames, type Problem, refuseName } from './book.ts'
import { Fields } from './fields.ts'
import { flush, makeFolder, readText, systemReason, writeWhole } from './file.ts'
import { CliError } from './terminal.ts'

export interface KnownGroup {
  /** What its owner calls it: the name of the file. */
  readonly name: string
  readonly group: Group
  /** Fingerprints of members who said that they left: nothing is sent to them. */
  readonly left: readonly string[]
  readonly path: string
}

const MOST_BYTES = 262_144
const LAST_LINE = '-----END SSH SIGNATURE-----\n'

export class Groups {
  readonly #folder: string
  #groups: readonly KnownGroup[] = []
  #problems: readonly Problem[] = []

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Reads those in `folder`, which need not be there. @throws {CliError} where the folder itself cannot be read */
  static async open(folder: string): Promise<Groups> {
    const groups = new Groups(folder)
    await groups.refresh()
    return groups
  }

  static empty(): Groups {
    return new Groups('')
  }

  /** Reads the files again. @throws {CliError} */
  async refresh(): Promise<void> {
    const names = await listNames(this.#folder)
    const read = await Promise.allSettled(names.map((name) => this.#read(name)))
    this.#groups = read.flatMap((each) => (each.status === 'fulfilled' && each.value !== undefined ? [each.value] : []))
    this.#problems = read.flatMap((each, index) => {
      if (each.status === 'fulfilled') return []
      if (each.reason instanceof CliError) return [{ name: names[index]!, error: each.reason }]
      throw each.reason
    })
  }

  list(): readonly KnownGroup[] {
    return this.#groups
  }

  get problems(): readonly Problem[] {
    return this.#problems
  }

  get(name: string): KnownGroup | undefined {
    return this.#groups.find((each) => each.name === name) ?? this.#groups.find((each) => fold(each.name) === fold(name))
  }

  find(id: string): KnownGroup | undefined {
    return this.#groups.find(({ group }) => group.id === id)
  }

  /** @throws {CliError} */
  need(name: string): KnownGroup {
    const known = this.get(name)
    if (known !== undefined) return known
    throw this.#problems.find((each) => fold(each.name) === fold(name))?.error ?? new CliError('there is no group of that name', { hint: '`asfaleia group list` shows them' })
  }

  /**
   * Takes up a group, or a newer version of one that is known. One that is no newer changes nothing.
   * @param isTaken whether something else is called so already
   * @throws {CliError} where the disk refuses
   */
  async take(group: Group, isTaken: (name: string) => boolean): Promise<{ readonly known: KnownGroup; readonly change: GroupChange | undefined }> {
    const before = this.find(group.id)
    if (before === undefined) {
      const name = this.#nameFor(group.name, isTaken)
      await makeFolder(this.#folder)
      await writeWhole(join(this.#folder, name), group.text, { replace: false })
      await this.refresh()
      return { known: this.need(name), change: undefined }
    }
    const change = compareGroups(before.group, group)
    if (change.kind !== 'newer') return { known: before, change }
    const fields = await this.#readFields(before.name)
    // Whoever is in the new version is in it by a card that is newer than their leave, or was asked again.
    const members = new Set(group.members.map(({ key }) => fingerprintOf(key)))
    fields.set('left', ...before.left.filter((fingerprint) => members.has(fingerprint) && !change.joined.some(({ key }) => fingerprintOf(key) === fingerprint)))
    await writeWhole(before.path, group.text + fields, { replace: true })
    await this.refresh()
    return { known: this.need(before.name), change }
  }

  /** Notes that a member left. @throws {CliError} */
  async leave(known: KnownGroup, fingerprint: string): Promise<void> {
    if (known.left.includes(fingerprint) || !known.group.members.some(({ key }) => fingerprintOf(key) === fingerprint)) return
    const fields = await this.#readFields(known.name)
    fields.set('left', ...known.left, fingerprint)
    await writeWhole(known.path, known.group.text + fields, { replace: true })
    await this.refresh()
  }

  /** @throws {CliError} */
  async remove(known: KnownGroup): Promise<void> {
    try {
      await rm(known.path)
      await flush(this.#folder)
    } catch (error) {
      throw new CliError(`cannot change ${known.path}: ${systemReason(error)}`, { hint: 'nothing was changed' })
    }
    await this.refresh()
  }

  /** The name that its maker gave, as far as it can be a file's and is not taken. */
  #nameFor(name: string, isTaken: (name: string) => boolean): string {
    const base = refuseName(name) === undefined ? name : 'group'
    for (let number = 1; ; number++) {
      const each = number === 1 ? base : `${base} (${number})`
      const isBroken = this.#problems.some((problem) => fold(problem.name) === fold(each))
      if (this.get(each) === undefined && !isTaken(each) && !isBroken) return each
    }
  }

  async #readFields(name: string): Promise<Fields> {
    return split((await readText(join(this.#folder, name), MOST_BYTES)) ?? '').fields
  }

  async #read(name: string): Promise<KnownGroup | undefined> {
    const path = join(this.#folder, name)
    const text = await readText(path, MOST_BYTES)
    if (text === undefined) return undefined
    const { signed, fields } = split(text)
    try {
      return { name, path, group: await parseGroup(signed), left: fields.all('left') }
    } catch (error) {
      if (!(error instanceof GroupError)) throw error
      throw new CliError(`${path}: ${error.message}`, { hint: 'it is left as it is; put it right, or remove it' })
    }
  }
}

/** The members who have not left. */
export function membersOf({ group, left }: KnownGroup): Card[] {
  return group.members.filter(({ key }) => !left.includes(fingerprintOf(key)))
}

function split(text: string): { signed: string; fields: Fields } {
  const plain = text.replaceAll('\r\n', '\n')
  const end = plain.lastIndexOf(LAST_LINE)
  const at = end === -1 ? plain.length : end + LAST_LINE.length
  return { signed: plain.slice(0, at), fields: new Fields(plain.slice(at)) }
}
