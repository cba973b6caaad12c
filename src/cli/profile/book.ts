/**
 * The contact book: a folder of text files, one a contact, that people can read, compare and back up. A file holds the
 * contact's card as its maker signed it, and after it lines of ours; without a card, lines of ours alone. It is named
 * by what its owner calls the contact. A key that is not the one known by that name is never taken in its place.
 */
import { rename as move } from 'node:fs/promises'
import { parsePublicKey, type SshKey } from '../../auth/ssh-key.ts'
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import { type Contact, contactOf } from '../../client/messenger/contact.ts'
import { fingerprintOf, formatKey, formatTime, parseTime } from '../../client/format/field.ts'
import { checkRelays, isLocal } from './address.ts'
import { Fields } from '../disk/fields.ts'
import { fold, Folder, type Kind, type Named, type Parts, refuseName } from '../disk/folder.ts'
import { CliError } from '../program/error.ts'

/** A contact as the messenger takes it, and what else is known. */
export interface Known extends Named {
  readonly key: SshKey
  /** In order of preference; none where nobody said any. */
  readonly relays: readonly string[]
  /** An age recipient, where the key itself cannot decrypt. */
  readonly recipient?: string
  /** As its maker signed it; without it the key came alone, and the relays were given by hand. */
  readonly card?: Card
  /** Seconds since 1970. */
  readonly added?: number
  /** When the safety words were compared, seconds since 1970. */
  readonly verified?: number
  /** Whether this contact gets receipts, where they are switched on at all. */
  readonly receipts: boolean
}

/** What a contact is made of: a card, or a key with relays that are known otherwise. */
export type Introduction = { readonly card: Card } | { readonly key: SshKey; readonly relays: readonly string[] }

export interface Change {
  readonly what: 'name' | 'relays' | 'encryption key'
  readonly before: string
  readonly after: string
}

export type Added =
  | { readonly kind: 'added'; readonly contact: Known }
  | { readonly kind: 'changed'; readonly contact: Known; readonly changes: readonly Change[] }
  | { readonly kind: 'unchanged'; readonly contact: Known }

const FIRST_LINE = 'asfaleia-card/'
const KIND: Kind = {
  noun: 'contact',
  hint: '`asfaleia contact list` shows them; `asfaleia contact add` adds one',
  // A card of 8 relays and an RSA key of 8,192 bits takes less than 8 KiB; notes of one's own may stand after it.
  mostBytes: 65_536,
}

export class Book extends Folder<Known> {
  readonly #now: () => number
  readonly #isLocal: boolean
  #byKey: ReadonlyMap<string, Known> = new Map()

  private constructor(folder: string, now: () => number, isLocal: boolean) {
    super(folder, KIND)
    this.#now = now
    this.#isLocal = isLocal
  }

  /**
   * Reads the contacts in `folder`, which need not be there.
   * @param isLocal whether cards may name relays of this machine, since its owner receives at one: else whoever wrote a
   * card could have this machine's programs dialled. What its owner gave by hand may anyway.
   * @param now seconds since 1970
   * @throws {CliError} where the folder itself cannot be read
   */
  static async open(folder: string, isLocal: boolean, now: () => number = () => Math.floor(Date.now() / 1_000)): Promise<Book> {
    const book = new Book(folder, now, isLocal)
    await book.refresh()
    return book
  }

  /** That of nobody, without a folder. */
  static empty(isLocal: boolean): Book {
    return new Book('', () => 0, isLocal)
  }

  override async refresh(): Promise<void> {
    await super.refresh()
    // Of two files with one key the first counts.
    this.#byKey = new Map(
      this.list()
        .map((each) => [fingerprintOf(each.key), each] as const)
        .toReversed(),
    )
  }

  /** The contact of that key, `SHA256:…`. */
  find(fingerprint: string): Known | undefined {
    return this.#byKey.get(fingerprint)
  }

  /** Whoever wrote that card, as somebody to write to: as they are known here, else by the card, at relays that it may name. */
  contactOf(card: Card): Contact {
    return this.find(fingerprintOf(card.key)) ?? this.#byCard(card)
  }

  #byCard(card: Card): Contact {
    return { ...contactOf(card), relays: this.#dialled(card.relays) }
  }

  /** @throws {CliError} where the card names a relay that it may not */
  check({ relays }: Card): void {
    if (this.#dialled(relays).length === relays.length) return
    throw new CliError('that card names localhost, which is this machine and not its owner’s', {
      hint: 'ask for a card with their onion address; who shares this machine with you can be added once you receive at localhost, too',
    })
  }

  #dialled(relays: readonly string[]): readonly string[] {
    return this.#isLocal ? relays : relays.filter((relay) => !isLocal(relay))
  }

  /**
   * Takes a contact up, or a newer card of one that is known by the same key.
   * @param name what to call it; the card's own name where it is not given
   * @throws {CliError} where the name is taken by another key, the card is older than the known one or names a relay that it
   * may not, or the disk refuses
   */
  async add(introduction: Introduction, name?: string): Promise<Added> {
    if ('card' in introduction) this.check(introduction.card)
    const key = 'card' in introduction ? introduction.card.key : introduction.key
    const known = this.find(fingerprintOf(key))
    if (known === undefined) return this.#addNew(introduction, key, name)
    if (name !== undefined && fold(name) !== fold(known.name)) {
      throw new CliError(`that key is known as ${known.name}`, { hint: '`asfaleia contact rename` gives it another name' })
    }
    return 'card' in introduction ? this.#addCard(known, introduction.card) : this.#addRelays(known, introduction.relays)
  }

  async #addNew(introduction: Introduction, key: SshKey, given: string | undefined): Promise<Added> {
    const name = given ?? ('card' in introduction ? introduction.card.name : undefined)
    if (name === undefined) throw new CliError('that key comes without a name', { hint: 'give one with --name' })
    const unfit = refuseName(name)
    if (unfit !== undefined) throw new CliError(unfit, { hint: 'give another with --name' })
    const namesake = this.get(name)
    if (namesake !== undefined) throw refuseKey(namesake, key)
    const fields = new Fields()
    if (!('card' in introduction)) {
      fields.set('key', formatKey(key))
      fields.set('relay', ...checkRelays(introduction.relays))
    }
    fields.set('added', formatTime(this.#now()))
    const card = 'card' in introduction ? introduction.card.text : ''
    return { kind: 'added', contact: await this.write(name, card + fields, { replace: false }) }
  }

  async #addCard(known: Known, card: Card): Promise<Added> {
    const { card: before } = known
    if (before?.text === card.text) return { kind: 'unchanged', contact: known }
    if (before !== undefined && before.time > card.time) {
      throw new CliError(`that card is older than the one known of ${known.name}`, {
        hint: `it is of ${formatTime(card.time)}, the known one of ${formatTime(before.time)}; nothing was changed`,
      })
    }
    const changes = compare(known, card)
    const { fields } = await this.readParts(known.name)
    // From now on they stand in the card.
    fields.set('key')
    fields.set('relay')
    return { kind: 'changed', contact: await this.write(known.name, card.text + fields, { replace: true }), changes }
  }

  async #addRelays(known: Known, relays: readonly string[]): Promise<Added> {
    if (known.card !== undefined || relays.join() === known.relays.join() || relays.length === 0)
      return { kind: 'unchanged', contact: known }
    const { fields } = await this.readParts(known.name)
    fields.set('relay', ...checkRelays(relays))
    const changes = [{ what: 'relays', before: known.relays.join(', '), after: relays.join(', ') }] as const
    return { kind: 'changed', contact: await this.write(known.name, fields.toString(), { replace: true }), changes }
  }

  /** @throws {CliError} where the new name is taken, or the disk refuses */
  async rename(known: Known, name: string): Promise<Known> {
    const unfit = refuseName(name)
    if (unfit !== undefined) throw new CliError(unfit)
    const namesake = this.get(name)
    if (namesake !== undefined && namesake !== known) throw new CliError(`there is a contact called ${namesake.name} already`)
    const { signed, fields } = await this.readParts(known.name)
    const path = this.pathOf(name)
    if (namesake === undefined) {
      await this.write(name, signed + fields, { replace: false })
      await this.remove(known)
    } else {
      // Another case of the same name may be the same file.
      await this.change(path, () => move(known.path, path))
    }
    return this.need(name)
  }

  /** Notes that the safety words were compared, and are the same. @throws {CliError} */
  async verify(known: Known): Promise<Known> {
    const { signed, fields } = await this.readParts(known.name)
    fields.set('verified', formatTime(this.#now()))
    return this.write(known.name, signed + fields, { replace: true })
  }

  protected async parse({ name, path }: Named, { signed, fields }: Parts): Promise<Known> {
    const broken = (why: string): CliError =>
      new CliError(`${path}: ${why}`, { hint: 'it is left as it is; put it right, or remove it and add the contact again' })
    const unfit = refuseName(name)
    if (unfit !== undefined) throw broken(unfit)
    const own = {
      name,
      path,
      ...timeOf(fields, 'added', broken),
      ...timeOf(fields, 'verified', broken),
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
      if (error instanceof CardError) throw broken('the card is not as it was signed')
      throw error
    }
  }
}

function readKey(fields: Fields, broken: (why: string) => CliError): Pick<Known, 'key' | 'relays'> {
  const [line, ...more] = fields.all('key')
  if (line === undefined || more.length > 0) throw broken('it holds neither a card nor one key')
  try {
    return { key: parsePublicKey(line), relays: checkRelays(fields.all('relay')) }
  } catch (error) {
    throw broken(error instanceof CliError ? error.message : 'the key is malformed or too weak')
  }
}

function timeOf<Name extends 'added' | 'verified'>(
  fields: Fields,
  name: Name,
  broken: (why: string) => CliError,
): { [_ in Name]?: number } {
  const [text, ...more] = fields.all(name)
  if (text === undefined) return {}
  const seconds = parseTime(text)
  if (more.length > 0 || seconds === undefined) throw broken(`\`${name}\` is no time`)
  return { [name]: seconds } as { [_ in Name]?: number }
}

function refuseKey(namesake: Known, key: SshKey): CliError {
  const known = fingerprintOf(namesake.key)
  return new CliError(`${namesake.name} is known by another key: ${known}, and this one is ${fingerprintOf(key)}`, {
    hint:
      'ask them on another way whether it is theirs. For another person give --name; if the key is new, ' +
      '`asfaleia contact remove` the old one first',
  })
}

/** What a card says otherwise than what was known. */
function compare(known: Known, card: Card): Change[] {
  const rows = [
    { what: 'name', before: known.card?.name ?? known.name, after: card.name },
    { what: 'relays', before: known.relays.join(', '), after: card.relays.join(', ') },
    { what: 'encryption key', before: known.recipient ?? 'none', after: card.encrypt ?? 'none' },
  ] as const
  return rows.filter(({ before, after }) => before !== after)
}
