/**
 * Writes messages to contacts as docs/protocol.md, sections 13 and 14, say: chooses the key that a message is encrypted to,
 * adds the headers by which it can be answered, and knows where it goes. Without `secrecy` it encrypts to the contact's
 * own key, and adds nothing.
 */
import { hybridKey } from '../../auth/age-hybrid.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { type Bundle, chooseBundle, judgeBundle, readBundle } from '../format/bundle.ts'
import { isBegunBy, type Mailbox, signBegin } from '../format/answer.ts'
import { normalizeRelay } from '../format/card.ts'
import { isChained } from '../format/content.ts'
import { sealFor, sealTo } from '../format/envelope.ts'
import { fingerprintOf } from '../format/field.ts'
import { countRoom, type Envelope, MessageError, writeMessage } from '../format/message.ts'
import { onRead } from '../ring/receiving.ts'
import { countFresh, isGivenUp, onRenew, onSend } from '../ring/sending.ts'
import { keep, type Ring } from '../ring/state.ts'
import { RelayError } from '../wire/error.ts'
import type { Contact } from './contact.ts'
import type { Secrecy } from './options.ts'
import type { Rings } from './rings.ts'
import { type Address, fingerprintOfSecret, leave, makeAddress, SECRETS } from './secrets.ts'
import type { Vault } from './vault.ts'

/** The recipient of a message to a contact whose program has no one-time keys: their own key. */
const KEY = 'key'
const NOTHING = new Uint8Array(0)
const SECRET_BYTES = 32
/** For how long a bundle that was fetched is used without fetching it again, ms. */
const FRESH_MS = 3_600_000

/**
 * What protects a message. `one-time`: a key that is erased after it was read. `daily`: the recipient of the day of an
 * inbox. `key`: a key that does not change, so a thief of it can read a recording.
 */
export type Protection = 'one-time' | 'daily' | 'key'

/** A message that is ready to be sent. */
export interface Sealed {
  readonly text: Uint8Array
  /** Empty if the recipient is in a bundle that must be fetched first. */
  readonly payload: Uint8Array
  readonly daily: boolean
  readonly left?: number
  readonly protection: Protection
}

export type Draft = Omit<Envelope, 'from' | 'to' | 'keys' | 'left' | 'begin' | 'address'>

export interface SealerOptions {
  readonly identity: { readonly key: SshKey; sign(namespace: string, message: Uint8Array): Promise<Uint8Array> }
  readonly secrecy: Secrecy
  readonly rings: Rings
  readonly vault: Vault
  /** The relays at which the user reads addresses. */
  readonly relays: () => readonly string[]
  readonly now: () => number
}

export class Sealer {
  readonly #options: SealerOptions
  /** By fingerprint of an inbox: the bundle that was fetched last, and when. */
  readonly #fetched = new Map<string, { readonly bundle: Bundle; readonly at: number }>()
  /** By fingerprint of an inbox: a FETCH under way. */
  readonly #fetching = new Map<string, Promise<Bundle | undefined>>()

  constructor(options: SealerOptions) {
    this.#options = options
  }

  /** Whether messages to the contact never go to the contact's own key (S1). */
  isMoved(to: Contact, ring: Ring | undefined): boolean {
    if (to.inbox !== undefined) return true
    return ring !== undefined && (ring.held.length > 0 || ring.last !== undefined || ring.known || ring.usedAt !== undefined)
  }

  /** Whether the contact has not used a key of the user's, so they may have a card without the inbox. */
  async mayLackInbox(to: Contact): Promise<boolean> {
    return !(await this.#options.rings.load(fingerprintOf(to.key))).known
  }

  /** Returns where messages for the contact go, the preferred route first. @param daily to the inbox */
  routesOf(to: Contact, daily: boolean): readonly string[] {
    const { rings, secrecy } = this.#options
    const key = fingerprintOf(to.key)
    const mailboxes = rings.peek(key)?.address?.mailboxes.filter(({ relay }) => this.#isAllowed(relay)) ?? []
    const isMember = (relay: string): boolean => secrecy.members?.includes(relay) === true
    // The mailbox of the contact's key has one route, whether an address names it or not: two connections lose the order.
    if (mailboxes.length > 0 && (!daily || to.inbox === undefined))
      return mailboxes.map(({ relay, fingerprint }) => (isMember(relay) && fingerprint === key ? relay : `${relay} ${fingerprint}`))
    // Without an inbox, too, each contact has a connection of its own: one for two mailboxes would join them.
    return to.relays.map((relay) => (isMember(relay) ? relay : `${relay} ${fingerprintOf(to.inbox ?? to.key)}`))
  }

  /** Returns where a message must go: a contact without an inbox has no bundle, and a one-time key opens nothing in an inbox. */
  #wayOf(to: Contact, ring: Ring, way: 'daily' | undefined): { readonly way?: 'daily' } {
    const isInbox = to.inbox !== undefined && !(ring.address?.mailboxes.some(({ relay }) => this.#isAllowed(relay)) ?? false)
    const isForced = way === 'daily' && (to.inbox !== undefined || !this.isMoved(to, ring))
    return isInbox || isForced ? { way: 'daily' } : {}
  }

  /** `localhost` is another machine for each reader: it is dialled only if the user receives there, too. */
  #isAllowed(relay: string): boolean {
    return !/^localhost(?::|$)/.test(relay) || this.#options.relays().some((each) => /^localhost(?::|$)/.test(each))
  }

  /**
   * Writes a message: signs it with the headers of the contact's ring, and stores the ring (S5).
   * @param way `daily`: to the bundle in any case; `key`: to the key that lasts, because the user says so (S1)
   * @throws {MessageError} as `encodeMessage`; errors of the stores and of the identity's `sign`
   */
  async write(to: Contact, draft: Draft, way?: 'daily' | 'key'): Promise<Sealed> {
    const { rings } = this.#options
    const contact = fingerprintOf(to.key)
    await this.adopt(to)
    const address = await this.#addressFor(contact)
    const sealed = await rings.change(contact, (ring) => this.#write(to, ring, draft, address, way))
    return sealed!
  }

  async #write(
    to: Contact,
    ring: Ring,
    draft: Draft,
    address: { readonly mailboxes: readonly Mailbox[]; readonly isKnown: boolean },
    way: 'daily' | 'key' | undefined,
  ): Promise<{ ring: Ring; value: Sealed }> {
    const { identity, secrecy } = this.#options
    const contact = fingerprintOf(to.key)
    const { id, time } = draft
    const isMoved = this.isMoved(to, ring)
    const bundle = isMoved && way !== 'key' ? (this.#fresh(to)?.encrypt ?? '') : KEY
    const told = address.isKnown || address.mailboxes.length === 0 ? {} : { address: address.mailboxes }
    // A card, or the keys, may not fit beside the content.
    const tries: readonly (readonly [draft: Draft, most: number])[] = [
      [draft, 3],
      [withoutCard(draft), 3],
      [withoutCard(draft), 0],
    ]
    let problem: unknown
    for (const [each, most] of tries) {
      // Without a mailbox of ours the contact could not use a key.
      const room = address.mailboxes.length === 0 ? 0 : Math.min(most, countRoom(identity.key, { ...each, ...told }))
      const fresh = Array.from({ length: countFresh(ring, time, room, isChained(draft.content)) }, () =>
        crypto.getRandomValues(new Uint8Array(SECRET_BYTES)),
      )
      const sent = onSend(ring, { id, time, bundle, ...(way === 'key' ? { way: 'daily' } : this.#wayOf(to, ring, way)) }, fresh)!
      const keys = fresh.map((seed) => hybridKey(seed).recipient)
      const answer = { ...told, ...(keys.length > 0 && { keys }) }
      try {
        const begin = sent.begin ? await signBegin(secrecy.inbox, { from: identity.key, to: contact, id, time, ...answer }) : undefined
        const text = await writeMessage(identity, {
          ...each,
          to: contact,
          ...answer,
          ...(sent.left !== undefined && { left: sent.left }),
          ...(begin && { begin }),
        })
        const payload = await seal(to, sent.to, text)
        const daily = sent.way === 'daily' && isMoved
        const protection = sent.way === 'daily' ? (bundle === KEY ? 'key' : 'daily') : 'one-time'
        const { left } = sent
        const sealed = { text, payload, daily, protection, ...(left !== undefined && { left }) } as const
        return { ring: sent.ring, value: sealed }
      } catch (error) {
        if (!isTooLarge(error)) throw error
        problem = error
      }
    }
    throw problem
  }

  /**
   * Encrypts a message anew. One of an earlier version has no text: the contact's own key opens it at the inbox, too.
   * @returns undefined if the contact has no other key
   */
  async renew(
    to: Contact,
    { id, text, left, payload }: Partial<Sealed> & Pick<Sealed, 'payload'> & { readonly id: string },
    way?: 'daily',
  ): Promise<Pick<Sealed, 'payload' | 'daily' | 'protection'> | undefined> {
    if (text === undefined) return way && { payload, daily: true, protection: 'key' }
    const { rings, now } = this.#options
    const contact = fingerprintOf(to.key)
    return rings.change(contact, async (ring) => {
      const isMoved = this.isMoved(to, ring)
      const bundle = isMoved ? (this.#fresh(to)?.encrypt ?? '') : KEY
      const chosen = onRenew(ring, { id, time: Math.floor(now() / 1_000), bundle, ...this.#wayOf(to, ring, way) }, left)
      if (chosen === undefined) return undefined
      const payload = await seal(to, chosen.to, text)
      const isDaily = chosen.way === 'daily'
      const protection = isDaily ? (isMoved ? 'daily' : 'key') : 'one-time'
      return { ring: chosen.ring, value: { payload, daily: isDaily && isMoved, protection } }
    })
  }

  /** Whether a message to the contact goes to the bundle now (S4). */
  isGivenUp(to: Contact, resends: number): boolean {
    const ring = this.#options.rings.peek(fingerprintOf(to.key))
    return ring !== undefined && to.inbox !== undefined && isGivenUp(ring, { resends, now: Math.floor(this.#options.now() / 1_000) })
  }

  /**
   * Fetches the bundle of the contact's inbox, for {@link renew}.
   * @param fetch asks the relay of the inbox
   * @returns undefined if the relay has none, or junk
   * @throws {RelayError} `old-bundle`
   */
  fetchBundle(to: Contact, fetch: (inbox: string) => Promise<Uint8Array | undefined>): Promise<Bundle | undefined> {
    if (to.inbox === undefined) return Promise.resolve(undefined)
    const known = this.#fresh(to)
    if (known !== undefined) return Promise.resolve(known)
    const inbox = fingerprintOf(to.inbox)
    let fetching = this.#fetching.get(inbox)
    if (fetching === undefined) {
      fetching = this.#fetch(to.inbox, fetch).finally(() => this.#fetching.delete(inbox))
      this.#fetching.set(inbox, fetching)
    }
    return fetching
  }

  async #fetch(key: SshKey, fetch: (inbox: string) => Promise<Uint8Array | undefined>): Promise<Bundle | undefined> {
    const { vault, now } = this.#options
    const inbox = fingerprintOf(key)
    const text = await fetch(inbox)
    // A relay without a bundle has restarted, or its owner took it down: the one that was seen before may be dead.
    if (text === undefined) return undefined
    const served = await readBundle(key, text)
    const stored = vault.state.bundles.get(inbox)
    const seen = stored === undefined ? undefined : await readBundle(key, stored)
    const at = now()
    const bundle = chooseBundle(seen, served, at / 1_000)
    const found = served ?? seen
    if (bundle === undefined && found !== undefined) throw new RelayError('old-bundle', { seconds: Math.floor(at / 1_000) - found.time })
    if (bundle === undefined) return undefined
    this.#fetched.set(inbox, { bundle, at })
    // A store that fails costs only the protection from a relay that serves an older bundle later.
    if (bundle !== seen)
      await vault.change((state) => ({ ...state, bundles: keep(state.bundles, inbox, bundle.text, SECRETS.bundles) })).catch(() => {})
    return bundle
  }

  /** Returns the bundle that was fetched a short while ago. */
  #fresh({ inbox }: Contact): Bundle | undefined {
    if (inbox === undefined) return undefined
    const fetched = this.#fetched.get(fingerprintOf(inbox))
    const now = this.#options.now()
    if (fetched === undefined || Math.abs(now - fetched.at) > FRESH_MS || judgeBundle(fetched.bundle, now / 1_000) !== 'good')
      return undefined
    return fetched.bundle
  }

  /** Takes the keys of a person's first message, once that person is a contact. */
  async adopt(to: Contact): Promise<void> {
    const { vault, rings, now } = this.#options
    const contact = fingerprintOf(to.key)
    const first = vault.state.strangers.get(contact)
    if (first === undefined) return
    const { id, begin } = first
    const beginning = { ...first, from: to.key, to: fingerprintOf(this.#options.identity.key) }
    // A thief of the person's SSH key could have written it.
    const isProven = to.inbox !== undefined && begin !== undefined && (await isBegunBy(to.inbox, begin, beginning)) === true
    const proof = to.inbox === undefined ? 'unknown' : isProven ? 'proven' : 'unproven'
    const reading = { ...first, now: Math.floor(now() / 1_000), tag: id, key: 'daily', begin: proof } as const
    await rings.change(contact, (ring) => ({ ...onRead(ring, reading), value: undefined }))
    await vault.change((state) => {
      const strangers = new Map(state.strangers)
      strangers.delete(contact)
      return { ...state, strangers }
    })
  }

  /** Replaces addresses at relays that the user has left. @throws errors of the store */
  leave(): Promise<void> {
    const { vault, relays, now } = this.#options
    return vault.change((state) => leave(state, relays(), Math.floor(now() / 1_000)))
  }

  /** Returns the user's mailboxes for the contact, and makes those that are missing. */
  async #addressFor(contact: string): Promise<{ readonly mailboxes: readonly Mailbox[]; readonly isKnown: boolean }> {
    const { vault, relays, secrecy, identity, now } = this.#options
    await this.leave()
    const all = relays()
      .map((relay) => ({ relay, name: normalizeRelay(relay) }))
      .filter((each): each is { relay: string; name: string } => each.name !== undefined)
      .slice(0, 4)
    const isMember = (relay: string): boolean => secrecy.members?.includes(relay) === true
    const find = (relay: string) =>
      vault.state.addresses.find((each) => each.contact === contact && each.relay === relay && each.replaced === undefined)
    const missing = all.filter(({ relay }) => !isMember(relay) && find(relay) === undefined)
    if (missing.length > 0) {
      await vault.change((state) => {
        const made = missing
          .filter(
            ({ relay }) => !state.addresses.some((each) => each.contact === contact && each.relay === relay && each.replaced === undefined),
          )
          .map(({ relay }) => makeAddress(contact, relay, crypto.getRandomValues(new Uint8Array(SECRET_BYTES)), Math.floor(now() / 1_000)))
        // The set of mailboxes is a new one, and the contact must learn all of it.
        const others = state.addresses.map((each) => (each.contact === contact && made.length > 0 ? { ...each, isKnown: false } : each))
        return { ...state, addresses: makeRoom([...others, ...made]) }
      })
    }
    const mailboxes = all.flatMap(({ relay, name }): Mailbox[] => {
      if (isMember(relay)) return [{ fingerprint: fingerprintOf(identity.key), relay: name }]
      const address = find(relay)
      return address === undefined ? [] : [{ fingerprint: fingerprintOfSecret(address.secret), relay: name }]
    })
    const isKnown = all.some(({ relay }) => find(relay)?.isKnown === true) && missing.length === 0
    return { mailboxes, isKnown }
  }
}

/** Drops addresses beyond the limit: first the oldest of those that contacts no longer use. */
function makeRoom(addresses: readonly Address[]): Address[] {
  const former = addresses.filter(({ replaced }) => replaced !== undefined)
  const excess = new Set(former.slice(0, Math.max(0, addresses.length - SECRETS.addresses)))
  return addresses.filter((each) => !excess.has(each)).slice(-SECRETS.addresses)
}

function withoutCard(draft: Draft): Draft {
  const { card: _, ...others } = draft
  return others
}

/** Whether a message may fit without its card or keys. A card of an RSA key can be too long for a header, too. */
export const isTooLarge = (error: unknown): boolean =>
  error instanceof TypeError || (error instanceof MessageError && error.code === 'too-large')

async function seal(to: Contact, recipient: string, text: Uint8Array): Promise<Uint8Array> {
  if (recipient === '') return NOTHING
  if (recipient !== KEY) return sealTo(recipient, text)
  if (to.recipient === undefined && !to.key.canDecrypt) throw new MessageError('no-recipient')
  return sealFor(to, text)
}
