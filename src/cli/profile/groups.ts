/** The groups that one belongs to: a folder of files, each a group as its maker signed it, and lines of ours after it. */
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { compareGroups, type Group, type GroupChange, GroupError, parseGroup } from '../../client/format/group.ts'
import { Folder, type Kind, type Named, type Parts, refuseName } from '../disk/folder.ts'
import { CliError } from '../program/error.ts'

export interface KnownGroup extends Named {
  readonly group: Group
  /** Fingerprints of members who said that they left: nothing is sent to them. */
  readonly left: readonly string[]
}

const KIND: Kind = { noun: 'group', hint: '`asfaleia group list` shows them', mostBytes: 262_144 }

export class Groups extends Folder<KnownGroup> {
  private constructor(folder: string) {
    super(folder, KIND)
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

  find(id: string): KnownGroup | undefined {
    return this.list().find(({ group }) => group.id === id)
  }

  /**
   * Takes up a group, or a newer version of one that is known. One that is no newer changes nothing.
   * @param isTaken whether something else is called so already
   * @throws {CliError} where the disk refuses
   */
  async take(
    group: Group,
    isTaken: (name: string) => boolean,
  ): Promise<{ readonly known: KnownGroup; readonly change: GroupChange | undefined }> {
    const before = this.find(group.id)
    if (before === undefined) {
      const name = this.#nameFor(group.name, isTaken)
      return { known: await this.write(name, group.text, { replace: false }), change: undefined }
    }
    const change = compareGroups(before.group, group)
    if (change.kind !== 'newer') return { known: before, change }
    const { fields } = await this.readParts(before.name)
    // Whoever is in the new version is in it by a card that is newer than their leave, or was asked again.
    const members = new Set(group.members.map(({ key }) => fingerprintOf(key)))
    fields.set(
      'left',
      ...before.left.filter(
        (fingerprint) => members.has(fingerprint) && !change.joined.some(({ key }) => fingerprintOf(key) === fingerprint),
      ),
    )
    return { known: await this.write(before.name, group.text + fields, { replace: true }), change }
  }

  /** Notes that a member left. @throws {CliError} */
  async leave(known: KnownGroup, fingerprint: string): Promise<void> {
    if (known.left.includes(fingerprint) || !known.group.members.some(({ key }) => fingerprintOf(key) === fingerprint)) return
    const { fields } = await this.readParts(known.name)
    fields.set('left', ...known.left, fingerprint)
    await this.write(known.name, known.group.text + fields, { replace: true })
  }

  /** The name that its maker gave, as far as it can be a file's and is not taken. */
  #nameFor(name: string, isTaken: (name: string) => boolean): string {
    const base = refuseName(name) === undefined ? name : 'group'
    for (let number = 1; ; number++) {
      const each = number === 1 ? base : `${base} (${number})`
      if (this.get(each) === undefined && !isTaken(each) && this.problemOf(each) === undefined) return each
    }
  }

  protected async parse(named: Named, { signed, fields }: Parts): Promise<KnownGroup> {
    try {
      // Without a signature, what is there says by itself what it lacks.
      return { ...named, group: await parseGroup(signed === '' ? fields.toString() : signed), left: fields.all('left') }
    } catch (error) {
      if (!(error instanceof GroupError)) throw error
      throw new CliError(`${named.path}: ${error.message}`, { hint: 'it is left as it is; put it right, or remove it' })
    }
  }
}

/** The members who have not left. */
export function membersOf({ group, left }: KnownGroup): Card[] {
  return group.members.filter(({ key }) => !left.includes(fingerprintOf(key)))
}
