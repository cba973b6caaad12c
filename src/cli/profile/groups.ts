/** The user's groups: a folder of files, each holding a group as its maker signed it, then the user's own fields. */
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { compareGroups, isBound, type Group, type GroupChange, GroupError, isSameGroup, parseGroup } from '../../client/format/group.ts'
import type { Parts } from '../../profile/entry.ts'
import { Folder, type Kind, type Named } from '../disk/folder.ts'
import { looksLike } from '../../wording/likeness.ts'
import { refuseName } from '../../wording/name.ts'
import { CliError } from '../program/error.ts'

export interface KnownGroup extends Named {
  readonly group: Group
  /** Fingerprints of members who announced that they left: the client sends them nothing. */
  readonly left: readonly string[]
}

/** The most groups that messages can add: a contact could add the user to any number of them. */
export const MOST_GROUPS = 64

const KIND: Kind = { noun: 'group', hint: '`asfaleia group list` shows them', mostBytes: 262_144 }

export class Groups extends Folder<KnownGroup> {
  private constructor(folder: string) {
    super(folder, KIND)
  }

  /** Reads the groups in `folder`, which need not exist. @throws {CliError} if the folder itself cannot be read */
  static async open(folder: string): Promise<Groups> {
    const groups = new Groups(folder)
    await groups.refresh()
    return groups
  }

  static empty(): Groups {
    return new Groups('')
  }

  /** Finds the stored version of a group. */
  find(group: Pick<Group, 'id' | 'maker'>): KnownGroup | undefined {
    return this.list().find((known) => isSameGroup(known.group, group))
  }

  /** Finds a group whose name looks like this one. */
  like(name: string): KnownGroup | undefined {
    return this.list().find((known) => looksLike(known.name, name))
  }

  /** Returns the groups with that id: at most one, unless two makers took an id that is bound to no key. */
  withId(id: string): KnownGroup[] {
    return this.list().filter(({ group }) => group.id === id)
  }

  /**
   * Adds a group, or updates a known one to a newer version. A version that is not newer changes nothing.
   * @param isTaken whether a contact has the name already, or one that looks like it
   * @throws {CliError} if the file cannot be written
   */
  async take(
    group: Group,
    isTaken: (name: string) => boolean,
  ): Promise<{ readonly known: KnownGroup; readonly change: GroupChange | undefined }> {
    const before = this.find(group)
    if (before === undefined) {
      const name = this.#nameFor(group.name, isTaken)
      return { known: await this.write(name, group.text, { replace: false }), change: undefined }
    }
    const change = compareGroups(before.group, group)
    if (change.kind !== 'newer') return { known: before, change }
    const { fields } = await this.readParts(before.name)
    // A member who left stays marked, unless the new version adds them again or drops them.
    const members = new Set(group.members.map(({ key }) => fingerprintOf(key)))
    fields.set(
      'left',
      ...before.left.filter(
        (fingerprint) => members.has(fingerprint) && !change.joined.some(({ key }) => fingerprintOf(key) === fingerprint),
      ),
    )
    return { known: await this.write(before.name, group.text + fields, { replace: true }), change }
  }

  /** Records that a member left. @throws {CliError} */
  async leave(known: KnownGroup, fingerprint: string): Promise<void> {
    if (known.left.includes(fingerprint) || !known.group.members.some(({ key }) => fingerprintOf(key) === fingerprint)) return
    const { fields } = await this.readParts(known.name)
    fields.set('left', ...known.left, fingerprint)
    await this.write(known.name, known.group.text + fields, { replace: true })
  }

  /** Chooses the file's name: the maker's name for the group if it fits and is free, else a similar one. */
  #nameFor(name: string, isTaken: (name: string) => boolean): string {
    const base = refuseName(name, 'group') === undefined ? name : 'group'
    for (let number = 1; ; number++) {
      const each = number === 1 ? base : `${base} (${number})`
      if (this.like(each) === undefined && !isTaken(each) && this.problemOf(each) === undefined) return each
    }
  }

  protected async parse(named: Named, { signed, fields }: Parts): Promise<KnownGroup> {
    try {
      // Without the last line of a signature, parseGroup names the defect.
      return { ...named, group: await parseGroup(signed === '' ? fields.toString() : signed), left: fields.all('left') }
    } catch (error) {
      if (!(error instanceof GroupError)) throw error
      throw new CliError(`${named.path}: ${error.message}`, { hint: 'the file was left untouched; repair or remove it' })
    }
  }
}

/** Returns the members who have not left. */
export function membersOf({ group, left }: KnownGroup): Card[] {
  return group.members.filter(({ key }) => !left.includes(fingerprintOf(key)))
}

/** Returns whether the person with that fingerprint is on the list and has not left. */
export function isMember(known: KnownGroup, fingerprint: string): boolean {
  return membersOf(known).some(({ key }) => fingerprintOf(key) === fingerprint)
}

/** The id of a group's conversation. Two makers can have taken an id that is bound to no key. */
export function conversationOf({ group: { id, maker } }: Pick<KnownGroup, 'group'>): string {
  return isBound(id) ? `group:${id}` : `group:${id} ${fingerprintOf(maker)}`
}
