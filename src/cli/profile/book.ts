/**
 * The contact book: a folder of text files, one a contact, that people can read, compare and back up. A file holds the
 * card as the contact signed it, then the user's own fields; a contact without a card has the fields alone. The file's
 * name is the user's name for the contact. The book never replaces the key of a contact by another one.
 */
import { rename as move } from 'node:fs/promises'
import { parsePublicKey, type SshKey } from '../../auth/ssh-key.ts'
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import { type Contact, contactOf } from '../../client/messenger/contact.ts'
import { fingerprintOf, formatKey, formatTime, parseTime } from '../../client/format/field.ts'
import { checkRelays, isLocal } from './address.ts'
import { Fields } from '../../profile/fields.ts'
import { fold, type Parts, refuseFile } from '../../profile/entry.ts'
import { Folder, type Kind, type Named } from '../disk/folder.ts'
import { CliError } from '../program/error.ts'
import { type Change, compare, refuseOtherInbox } from './change.ts'
import { looksOf } from '../../wording/likeness.ts'
import { composeName, refuseName, showName } from '../../wording/name.ts'

/** A contact of the book: the messenger's fields, and the book's own. A bare key may have no relays. */
export interface Known extends Named, Contact {
  /** The signed card; without it the user added a bare key and named the relays. */
  readonly card?: Card
  /** Seconds since 1970. */
  readonly added?: number
  /** When the user compared the safety words, seconds since 1970. */
  readonly verified?: number
  /** When this contact was first heard, seconds since 1970: since then they have the user's card. */
  readonly met?: number
  /** Whether this contact gets receipts, if receipts are switched on at all. */
  readonly receipts: boolean
}

/** The source of a contact: a card, or a bare key with relays that the user names. */
export type Introduction = { readonly card: Card } | { readonly key: SshKey; readonly relays: readonly string[] }

export type Added =
  | { readonly kind: 'added'; readonly contact: Known }
  | { readonly kind: 'changed'; readonly contact: Known; readonly changes: readonly Change[] }
  | { readonly kind: 'unchanged'; readonly contact: Known }

const FIRST_LINE = 'asfaleia-card/'
const KIND: Kind = {
  noun: 'contact',
  hint: '`asfaleia contact list` shows them; `asfaleia contact add` adds one',
  // A card with 8 relays and an RSA key of 8,192 bits takes less than 8 KiB; the user may add notes after it.
  mostBytes: 65_536,
}

export class Book extends Folder<Known> {
  readonly #now: () => number
  readonly #isLocal: boolean
  /** The last change. */
  #tail: Promise<unknown> = Promise.resolve()
  #byKey: ReadonlyMap<string, Known> = new Map()
  /** Computed once for each contact. */
  readonly #looksOf = new WeakMap<Known, readonly string[]>()

  private constructor(folder: string, now: () => number, isLocal: boolean) {
    super(folder, KIND)
    this.#now = now
    this.#isLocal = isLocal
  }

  /**
   * Reads the contacts in `folder`, which need not exist.
   * @param isLocal whether the relays on cards may be at this machine. Only true if the user receives at one: otherwise
   * the author of a card could make this client connect to other local programs. Relays that the user names are exempt.
   * @param now seconds since 1970
   * @throws {CliError} if the folder itself cannot be read
   */
  static async open(folder: string, isLocal: boolean, now: () => number = () => Math.floor(Date.now() / 1_000)): Promise<Book> {
    const book = new Book(folder, now, isLocal)
    await book.refresh()
    return book
  }

  /** Returns an empty book without a folder. */
  static empty(isLocal: boolean): Book {
    return new Book('', () => 0, isLocal)
  }

  override async refresh(): Promise<void> {
    await super.refresh()
    // If two files have the same key, the first one counts.
    this.#byKey = new Map(
      this.list()
        .map((each) => [fingerprintOf(each.key), each] as const)
        .toReversed(),
    )
  }

  /** Finds the contact whose key has that fingerprint, `SHA256:…`. */
  find(fingerprint: string): Known | undefined {
    return this.#byKey.get(fingerprint)
  }

  /** Finds a contact whose name looks like this one. @param except the fingerprint of the person who has the name */
  like(name: string, except?: string): Known | undefined {
    const looks = new Set(looksOf(name))
    return this.list().find((each) => fingerprintOf(each.key) !== except && this.#looks(each).some((look) => looks.has(look)))
  }

  #looks(known: Known): readonly string[] {
    const looks = this.#looksOf.get(known) ?? looksOf(known.name)
    this.#looksOf.set(known, looks)
    return looks
  }

  /**
   * Returns the name of a person as a line shows it: in quotes if it could imitate a line, and with a remark if it looks
   * like the name of a contact who has another key.
   */
  show(name: string, fingerprint: string): string {
    const twin = this.like(name, fingerprint)
    return twin === undefined ? showName(name) : `${showName(name)} [looks like ${showName(twin.name)}]`
  }

  /** Returns the contact with the card's key, or else one made from the card, with its permitted relays. */
  contactOf(card: Card): Contact {
    return this.find(fingerprintOf(card.key)) ?? this.#byCard(card)
  }

  #byCard(card: Card): Contact {
    return { ...contactOf(card), relays: this.#dialled(card.relays) }
  }

  /** @throws {CliError} if the card names a relay at this machine and must not */
  check({ relays }: Card): void {
    if (this.#dialled(relays).length === relays.length) return
    throw new CliError('the card names localhost, which is this machine and not its owner’s', {
      hint: 'ask for a card with their onion address; if they share this machine with you, first receive at localhost yourself',
    })
  }

  #dialled(relays: readonly string[]): readonly string[] {
    return this.#isLocal ? relays : relays.filter((relay) => !isLocal(relay))
  }

  /**
   * Adds a contact, or updates the contact that has the same key.
   * @param name the user's name for a new contact; the name on the card by default
   * @param isTaken whether a group has the name of a new contact, or one that looks like it
   * @param mayMove whether the user agrees that a contact has another inbox than before, or none
   * @throws {CliError} if a contact of that name has another key, the card is older than the stored one, names another
   * inbox or a forbidden relay, or the file cannot be written
   */
  async add(introduction: Introduction, name?: string, isTaken: (name: string) => boolean = () => false, mayMove = false): Promise<Added> {
    if ('card' in introduction) this.check(introduction.card)
    const key = 'card' in introduction ? introduction.card.key : introduction.key
    const known = this.find(fingerprintOf(key))
    if (known === undefined) return this.#addNew(introduction, key, name, isTaken)
    if (name !== undefined && fold(name) !== fold(known.name)) {
      throw new CliError(`this is the key of your contact "${known.name}"`, {
        hint: '`asfaleia contact rename` gives the contact another name',
      })
    }
    return 'card' in introduction ? this.#addCard(known, introduction.card, mayMove) : this.#addRelays(known, introduction.relays)
  }

  async #addNew(introduction: Introduction, key: SshKey, given: string | undefined, isTaken: (name: string) => boolean): Promise<Added> {
    const typed = given ?? ('card' in introduction ? introduction.card.name : undefined)
    if (typed === undefined) throw new CliError('a bare key does not say whose it is', { hint: 'name the contact with --name' })
    const name = composeName(typed)
    const unfit = refuseName(name)
    if (unfit !== undefined) throw new CliError(unfit, { hint: 'choose another name with --name' })
    const namesake = this.get(name)
    if (namesake !== undefined) throw refuseKey(namesake, key)
    const twin = this.like(name)
    if (twin !== undefined) throw refuseTwin(name, twin)
    if (isTaken(name)) throw refuseGroup(name)
    const fields = new Fields()
    if (!('card' in introduction)) {
      fields.set('key', formatKey(key))
      fields.set('relay', ...checkRelays(introduction.relays))
    }
    fields.set('added', formatTime(this.#now()))
    const card = 'card' in introduction ? introduction.card.text : ''
    return { kind: 'added', contact: await this.write(name, card + fields, { replace: false }) }
  }

  async #addCard(known: Known, card: Card, mayMove: boolean): Promise<Added> {
    const { card: before } = known
    if (before?.text === card.text) return { kind: 'unchanged', contact: known }
    if (before !== undefined && before.time > card.time) {
      throw new CliError(`this card is older than the one that you have of "${known.name}"`, {
        hint: `its time is ${formatTime(card.time)}, that of yours ${formatTime(before.time)}; nothing was changed`,
      })
    }
    if (!mayMove) refuseOtherInbox(known, card)
    const changes = compare(known, card)
    const contact = await this.#rewrite(known, ({ fields }) => {
      // The card has both from now on.
      fields.set('key')
      fields.set('relay')
      return card.text + fields
    })
    return { kind: 'changed', contact, changes }
  }

  async #addRelays(known: Known, relays: readonly string[]): Promise<Added> {
    if (known.card !== undefined || relays.join() === known.relays.join() || relays.length === 0)
      return { kind: 'unchanged', contact: known }
    const checked = checkRelays(relays)
    const changes = [{ what: 'relays', before: known.relays.join(', '), after: relays.join(', ') }] as const
    const contact = await this.#rewrite(known, ({ fields }) => {
      fields.set('relay', ...checked)
      return fields.toString()
    })
    return { kind: 'changed', contact, changes }
  }

  /**
   * Takes the card that a contact sent in a message, if it is newer and names an inbox, and the user knows none of them.
   * @returns whether the contact has the inbox now
   * @throws {CliError} if the file cannot be written
   */
  async takeInbox(known: Known, card: Card): Promise<boolean> {
    if (known.inbox !== undefined || card.inbox === undefined || (known.card?.time ?? -Infinity) >= card.time) return false
    if (this.#dialled(card.relays).length < card.relays.length) return false
    await this.#addCard(known, card, false)
    return true
  }

  /** @throws {CliError} if another contact has the new name, or the file cannot be moved */
  async rename(known: Known, typed: string, isTaken: (name: string) => boolean = () => false): Promise<Known> {
    const name = composeName(typed)
    const unfit = refuseName(name)
    if (unfit !== undefined) throw new CliError(unfit)
    const namesake = this.get(name)
    if (namesake !== undefined && namesake !== known)
      throw new CliError(`there is already a contact "${namesake.name}"`, { hint: 'choose another name' })
    const twin = this.like(name, fingerprintOf(known.key))
    if (twin !== undefined) throw refuseTwin(name, twin)
    if (isTaken(name)) throw refuseGroup(name)
    const { signed, fields } = await this.readParts(known.name)
    const path = this.pathOf(name)
    if (namesake === undefined) {
      await this.write(name, signed + fields, { replace: false })
      await this.remove(known)
    } else {
      // On some disks a name that differs only in case is the same file.
      await this.change(path, () => move(known.path, path))
    }
    return this.need(name)
  }

  /** Records that the user compared the safety words and found them equal. @throws {CliError} */
  async verify(known: Known): Promise<Known> {
    return this.#rewrite(known, ({ signed, fields }) => {
      fields.set('verified', formatTime(this.#now()))
      return signed + fields
    })
  }

  /** Records that the contact was heard, so that messages to them need no card any more. @throws {CliError} */
  async meet(known: Known): Promise<Known> {
    return this.#rewrite(known, ({ signed, fields }) => {
      fields.set('met', formatTime(this.#now()))
      return signed + fields
    })
  }

  /** Rewrites the file of a contact, one change after the other: a message can bring two at the same time. */
  #rewrite(known: Known, edit: (parts: Parts) => string): Promise<Known> {
    const rewritten = this.#tail.then(async () => {
      const parts = await this.readParts(known.name)
      // Another command has removed or renamed the contact meanwhile.
      if (parts.signed === '' && parts.fields.all('key').length === 0) return known
      return this.write(known.name, edit(parts), { replace: true })
    })
    this.#tail = rewritten.catch(() => {})
    return rewritten
  }

  protected async parse({ name, path }: Named, { signed, fields }: Parts): Promise<Known> {
    const broken = (why: string): CliError =>
      new CliError(`${path}: ${why}`, { hint: 'the file was left untouched; repair it, or remove it and add the contact again' })
    const unfit = refuseFile(name)
    if (unfit !== undefined) throw broken(unfit)
    const own = {
      name,
      path,
      ...timeOf(fields, 'added', broken),
      ...timeOf(fields, 'verified', broken),
      ...timeOf(fields, 'met', broken),
      receipts: fields.all('receipts')[0] !== 'no',
    }
    if (signed === '') {
      if (fields.toString().startsWith(FIRST_LINE)) throw broken('the end of the card is missing')
      return { ...own, ...readKey(fields, broken) }
    }
    try {
      const card = await parseCard(signed)
      return { ...this.#byCard(card), ...own, card }
    } catch (error) {
      if (error instanceof CardError) throw broken(error.message)
      throw error
    }
  }
}

function readKey(fields: Fields, broken: (why: string) => CliError): Pick<Known, 'key' | 'relays'> {
  const [line, ...more] = fields.all('key')
  if (line === undefined || more.length > 0) throw broken('it must hold a card, or exactly one `key` line')
  try {
    return { key: parsePublicKey(line), relays: checkRelays(fields.all('relay')) }
  } catch (error) {
    throw broken(error instanceof CliError ? error.message : '`key` is malformed or too weak')
  }
}

function timeOf<Name extends 'added' | 'verified' | 'met'>(
  fields: Fields,
  name: Name,
  broken: (why: string) => CliError,
): { [_ in Name]?: number } {
  const [text, ...more] = fields.all(name)
  if (text === undefined) return {}
  const seconds = parseTime(text)
  if (more.length > 0 || seconds === undefined) throw broken(`\`${name}\` must be one time, such as 2026-11-26T23:00:00Z`)
  return { [name]: seconds } as { [_ in Name]?: number }
}

function refuseKey(namesake: Known, key: SshKey): CliError {
  const known = fingerprintOf(namesake.key)
  return new CliError(`your contact "${namesake.name}" has another key: ${known}, not ${fingerprintOf(key)}`, {
    hint:
      'ask them over another channel whether this key is theirs. If it is another person, choose another name with --name; ' +
      'if it is their new key, remove the old contact first: `asfaleia contact remove`',
  })
}

function refuseTwin(name: string, { name: other }: Known): CliError {
  return new CliError(`${showName(name)} looks like ${showName(other)}, another contact of yours`, {
    hint: 'ask them over another channel whether the key is theirs, and choose a name that you can tell apart with --name',
  })
}

function refuseGroup(name: string): CliError {
  return new CliError(`${showName(name)} is the name of a group of yours, or looks like it`, {
    hint: 'messages to the group would go to the contact: choose another name with --name',
  })
}
