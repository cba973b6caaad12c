/**
 * The user's profile in memory: key, card, relays and people, in the files of a profile's folder (docs/clients.md). The
 * page changes only the files that it understands, and keeps all others as they are. Without I/O.
 */
import { generateSeedKey } from '../auth/seed.ts'
import { concat } from '../auth/ssh-wire.ts'
import { Seen } from '../client/delivery/seen.ts'
import { type Card, CardError, makeCard, normalizeRelay } from '../client/format/card.ts'
import { decodeText, encodeText, fingerprintOf, formatKey, formatTime, isFingerprint, parseTime } from '../client/format/field.ts'
import type { Identity } from '../client/format/identity.ts'
import { openByPassphrase, PassphraseError, sealByPassphrase } from '../client/format/passphrase.ts'
import type { Contact } from '../client/messenger/contact.ts'
import { ProtocolError } from '../protocol/errors.ts'
import { fold, refuseFile, splitParts } from '../profile/entry.ts'
import { factsOf, isCardOf, type Reach } from '../profile/facts.ts'
import { Fields } from '../profile/fields.ts'
import { decodeFiles, encodeFiles, type Files, PROFILE_TYPE } from '../profile/files.ts'
import { looksOf } from '../wording/likeness.ts'
import { showName } from '../wording/name.ts'
import { AccountError, checkName, checkRelays, isLocal } from './check.ts'
import { pageIdentity } from './identity.ts'
import { readBareKey, readCard, readContact, readKey, textOf } from './reading.ts'

/** A contact of the user. */
export interface Person extends Contact {
  readonly fingerprint: string
  readonly card?: Card
  /** When the user compared the safety words, seconds since 1970. */
  readonly verified?: number
  /** When the contact was first heard, seconds since 1970: since then they have the user's card. */
  readonly met?: number
}

/** The same for everyone: it must not say whose key it is. */
const COMMENT = 'asfaleia'
const SEEN = 'page/seen'
const SECRETS = 'page/secrets'
const RING = 'page/ring-'
const LF = 0x0a
/** The most tags of received messages that a saved file keeps: 1.7 MB. */
const SEEN_TAGS = 50_000

export class Account {
  readonly identity: Identity
  /** The key of the inbox, to which first messages come. */
  readonly inbox: Identity
  readonly #reach: Reach
  readonly #files: Map<string, Uint8Array>
  readonly #now: () => number
  #card: Card
  /** By fingerprint. */
  #people = new Map<string, Person & { readonly path: string }>()
  #blocked = new Map<string, string>()
  /** The tags of received messages, in pieces of the text of a seen store. The messenger's store changes them. */
  seen: Uint8Array[] = []
  /** The rings of one-time keys as texts, by the fingerprint of the contact; and the secrets at relays. */
  readonly rings = new Map<string, Uint8Array>()
  secrets: Uint8Array | undefined
  /** The files that could not be read. They stay as they are. */
  readonly broken: string[] = []

  private constructor({ identity, inbox, reach, card, files, now }: Parts) {
    this.identity = identity
    this.inbox = inbox
    this.#reach = reach
    this.#card = card
    this.#files = files
    this.#now = now
  }

  /** Makes a new identity. @param now seconds since 1970 @throws {AccountError} if the name or a relay is unfit */
  static async create(typed: string, relays: readonly string[], now: () => number = seconds): Promise<Account> {
    const fields = new Fields()
    fields.set('name', checkName(typed))
    fields.set('key', 'key')
    fields.set('relay', ...checkRelays(relays))
    const key = generateSeedKey()
    const files = new Map([
      ['profile', encodeText(fields.toString())],
      ['key', encodeText(key.toFile(COMMENT))],
      ['key.pub', encodeText(`${formatKey(key.public)} ${COMMENT}\n`)],
    ])
    return Account.read(files, now)
  }

  /** Opens a saved file. @throws {AccountError} */
  static async open(sealed: string, passphrase: string, now: () => number = seconds): Promise<Account> {
    let files: Files | undefined
    try {
      files = decodeFiles(await openByPassphrase(sealed, passphrase, PROFILE_TYPE))
    } catch (error) {
      if (error instanceof PassphraseError) throw new AccountError(`this file cannot be opened: ${error.message}`)
      throw error
    }
    if (files === undefined) throw new AccountError('this file cannot be opened: its content is no profile')
    return Account.read(files, now)
  }

  /** Reads the files of a profile. @throws {AccountError} */
  static async read(files: Files, now: () => number = seconds): Promise<Account> {
    const profile = new Fields(textOf(files, 'profile'))
    if (profile.findBroken() !== undefined) throw new AccountError('the profile in this file is damaged')
    const key = readKey(files, profile.all('key')[0] ?? 'key')
    const identity = await pageIdentity(key)
    const old = await readCard(files)
    if (old !== undefined && fingerprintOf(old.key) !== fingerprintOf(key.public))
      throw new AccountError('the card in this file belongs to another person’s key; ask for the file again, or make a new identity')
    const all = new Map(files)
    const inbox = await readInbox(all)
    const addresses = (field: string): readonly string[] => profile.all(field).flatMap((relay) => normalizeRelay(relay) ?? [])
    const reach = { relays: checkRelays(addresses('relay')), isPublic: profile.all('public')[0] !== 'no', memberAt: addresses('member') }
    const facts = factsOf({ ...reach, name: checkName(profile.all('name')[0] ?? old?.name ?? '') }, old?.version ?? 2, inbox.key)
    const time = Math.max(now(), (old?.time ?? 0) + 1)
    const card = old !== undefined && isCardOf(old, facts) ? old : await makeCard(identity, { ...facts, time })
    all.set('card', encodeText(card.text))
    const account = new Account({ identity, inbox, reach, card, files: all, now })
    await account.#readPeople()
    account.#readState()
    return account
  }

  get card(): Card {
    return this.#card
  }

  get name(): string {
    return this.#card.name
  }

  /** Where the user receives. */
  get relays(): readonly string[] {
    return this.#reach.relays
  }

  /** Who may learn the user's key. */
  get reach(): Reach {
    return this.#reach
  }

  get receipts(): { readonly delivered: boolean; readonly read: boolean } {
    const [line] = new Fields(textOf(this.#files, 'profile')).all('receipts')
    const words = (line ?? 'delivered').split(/[ ,]+/)
    return { delivered: words.includes('delivered'), read: words.includes('read') }
  }

  /** Returns the people, by name. */
  people(): readonly Person[] {
    return [...this.#people.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  find(fingerprint: string): Person | undefined {
    return this.#people.get(fingerprint)
  }

  /** Finds a contact with another key, whose name looks like this one. */
  like(name: string, fingerprint: string): Person | undefined {
    const looks = new Set(looksOf(name))
    return this.people().find((each) => each.fingerprint !== fingerprint && looksOf(each.name).some((look) => looks.has(look)))
  }

  isBlocked(fingerprint: string): boolean {
    return this.#blocked.has(fingerprint)
  }

  /** Encrypts the whole profile. Takes some seconds without a JIT compiler. */
  save(passphrase: string): Promise<string> {
    this.#writeState()
    return sealByPassphrase(encodeFiles(this.#files), passphrase, PROFILE_TYPE)
  }

  /** The state that a page keeps between two openings. In the folder of a profile it means nothing. */
  #writeState(): void {
    const seen = Seen.decode(concat(...this.seen), this.#now(), SEEN_TAGS)
    if (seen !== undefined) this.#files.set(SEEN, seen.encode())
    if (this.secrets !== undefined) this.#files.set(SECRETS, this.secrets)
    for (const [contact, ring] of this.rings) this.#files.set(`${RING}${nameOf(contact)}`, concat(encodeText(`${contact}\n`), ring))
  }

  #readState(): void {
    const seen = this.#files.get(SEEN)
    if (seen !== undefined && Seen.decode(seen, this.#now()) !== undefined) this.seen = [seen]
    this.secrets = this.#files.get(SECRETS)
    for (const [path, text] of this.#files) {
      const end = text.indexOf(LF)
      const contact = decodeText(text.subarray(0, Math.max(0, end))) ?? ''
      if (path === `${RING}${nameOf(contact)}`) this.rings.set(contact, text.subarray(end + 1))
    }
  }

  /**
   * Adds the person of a card, or updates the card of a contact.
   * @param typed the user's name for them; the card's name by default
   * @throws {AccountError}
   */
  async add(card: Card, typed: string = card.name): Promise<Person> {
    const fingerprint = fingerprintOf(card.key)
    if (fingerprint === fingerprintOf(this.identity.key)) throw new AccountError('this card is your own: send it to other people')
    const relays = card.relays.filter((relay) => !isLocal(relay))
    if (relays.length < card.relays.length)
      throw new AccountError('this card names the relay localhost, which only its owner can reach; ask for a card with an onion address')
    const known = this.#people.get(fingerprint)
    if (known === undefined) {
      const name = checkName(typed)
      const twin = this.like(name, fingerprint)
      if (twin !== undefined)
        throw new AccountError(
          `${showName(name)} is already the name of another contact, or looks like it: ${showName(twin.name)}. Choose another name`,
        )
      const fields = new Fields()
      fields.set('added', formatTime(this.#now()))
      return this.#write(name, card.text, fields)
    }
    if (known.card !== undefined && known.card.time > card.time)
      throw new AccountError(`this card is older than the one that you have of ${showName(known.name)}`)
    const { fields } = splitParts(textOf(this.#files, known.path) ?? '')
    fields.set('key')
    fields.set('relay')
    return this.#write(known.name, card.text, fields)
  }

  /** @throws {AccountError} */
  async rename(fingerprint: string, typed: string): Promise<void> {
    const known = this.#need(fingerprint)
    const name = checkName(typed)
    const twin = this.like(name, fingerprint)
    if (twin !== undefined) throw new AccountError(`${showName(name)} looks like ${showName(twin.name)}, another contact of yours`)
    const { signed, fields } = splitParts(textOf(this.#files, known.path) ?? '')
    this.#files.delete(known.path)
    await this.#write(name, signed, fields)
  }

  remove(fingerprint: string): void {
    const known = this.#people.get(fingerprint)
    if (known === undefined) return
    this.#files.delete(known.path)
    this.#people.delete(fingerprint)
  }

  /** Records that the safety words were equal. */
  async verify(fingerprint: string): Promise<void> {
    await this.#mark(fingerprint, 'verified')
  }

  /** Records that the contact was heard. */
  async meet(fingerprint: string): Promise<void> {
    if (this.#people.get(fingerprint)?.met === undefined) await this.#mark(fingerprint, 'met')
  }

  block(fingerprint: string, name: string): void {
    this.#blocked.set(fingerprint, name.replaceAll(/\s+/g, ' '))
    this.#writeBlocked()
  }

  unblock(fingerprint: string): void {
    this.#blocked.delete(fingerprint)
    this.#writeBlocked()
  }

  #writeBlocked(): void {
    this.#files.set('blocked', encodeText([...this.#blocked].map((each) => `${each.join(' ')}\n`).join('')))
  }

  async #mark(fingerprint: string, field: 'verified' | 'met'): Promise<void> {
    const known = this.#need(fingerprint)
    const { signed, fields } = splitParts(textOf(this.#files, known.path) ?? '')
    fields.set(field, formatTime(this.#now()))
    await this.#write(known.name, signed, fields)
  }

  #need(fingerprint: string): Person & { readonly path: string } {
    const known = this.#people.get(fingerprint)
    if (known === undefined) throw new AccountError('this person is no contact any more')
    return known
  }

  async #write(name: string, signed: string, fields: Fields): Promise<Person> {
    const path = `contacts/${name}`
    this.#files.set(path, encodeText(signed + fields))
    return this.#readPerson(path, name)
  }

  async #readPeople(): Promise<void> {
    const folded = new Set<string>()
    for (const path of [...this.#files.keys()].filter((each) => each.startsWith('contacts/')).toSorted()) {
      const name = path.slice('contacts/'.length)
      try {
        if (refuseFile(name) !== undefined || folded.has(fold(name))) throw new AccountError()
        folded.add(fold(name))
        await this.#readPerson(path, name)
      } catch (error) {
        if (!(error instanceof AccountError || error instanceof CardError || error instanceof ProtocolError)) throw error
        this.broken.push(path)
      }
    }
    for (const line of (textOf(this.#files, 'blocked') ?? '').split(/\r?\n/)) {
      const [, fingerprint = '', name = ''] = /^\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? []
      if (isFingerprint(fingerprint)) this.#blocked.set(fingerprint, name)
    }
  }

  /** @throws {CardError | ProtocolError | AccountError} if the file is damaged */
  async #readPerson(path: string, name: string): Promise<Person> {
    const { signed, fields } = splitParts(textOf(this.#files, path) ?? '')
    const contact = signed === '' ? readBareKey(name, fields) : await readContact(signed)
    const [verified, met] = [parseTime(fields.all('verified')[0] ?? ''), parseTime(fields.all('met')[0] ?? '')]
    const person = {
      ...contact,
      name,
      path,
      relays: contact.relays.filter((relay) => !isLocal(relay)),
      fingerprint: fingerprintOf(contact.key),
      receipts: fields.all('receipts')[0] !== 'no',
      ...(verified !== undefined && { verified }),
      ...(met !== undefined && { met }),
    }
    this.#people.set(person.fingerprint, person)
    return person
  }
}

/** The name of a contact's ring. A fingerprint has characters that no path has. */
const nameOf = (contact: string): string => contact.replace('SHA256:', '').replaceAll('/', '_')

interface Parts {
  readonly identity: Identity
  readonly inbox: Identity
  readonly reach: Reach
  readonly card: Card
  readonly files: Map<string, Uint8Array>
  readonly now: () => number
}

/** Reads the key of the inbox, and makes it first if there is none. @throws {AccountError} if it is damaged */
async function readInbox(files: Map<string, Uint8Array>): Promise<Identity> {
  if (!files.has('inbox')) files.set('inbox', encodeText(generateSeedKey().toFile(COMMENT)))
  return pageIdentity(readKey(files, 'inbox'))
}

const seconds = (): number => Math.floor(Date.now() / 1_000)
