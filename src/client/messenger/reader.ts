/**
 * Opens messages by the keys that a client of docs/protocol.md, sections 13 and 14, has: one-time keys, recipients of the
 * day, and keys that last. Once a message is read, it changes the ring of its sender.
 */
import { hybridKey } from '../../auth/age-hybrid.ts'
import { isBegunBy } from '../format/answer.ts'
import { isChained } from '../format/content.ts'
import { open, openWith } from '../format/envelope.ts'
import { fingerprintOf } from '../format/field.ts'
import { type Envelope, FUTURE, judge, type Opened, OPENED_BYTES, type SeenBefore, STALE } from '../format/message.ts'
import { listKeys, type RingKey, tagOf } from '../ring/keys.ts'
import { onAccept, onRead, onUnopened, recognise, type RingEvent } from '../ring/receiving.ts'
import { keep } from '../ring/state.ts'
import type { Contact } from './contact.ts'
import type { Context } from './context.ts'
import type { Way } from './inbox.ts'
import { type Address, SECRETS } from './secrets.ts'

/** Where a message came: to the mailbox of the user's own key, to the inbox, or to the address of a contact. */
export type Origin =
  { readonly kind: 'key' } | { readonly kind: 'inbox' } | { readonly kind: 'address'; readonly contact: string; readonly address: Address }

/**
 * `duplicate`: the payload came before, with the message `id`. `unopened`: no key opens a payload that came to an address;
 * the messenger reports it to the contact, and does not show it.
 */
export type Read =
  | { readonly kind: 'opened'; readonly opened: Opened; readonly way?: Way }
  | { readonly kind: 'duplicate'; readonly contact: string; readonly id: string }
  | { readonly kind: 'unopened' }

const DAY = 86_400

export class Reader {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  async open(origin: Origin, payload: Uint8Array, judging: { readonly now: number; readonly seen?: SeenBefore }): Promise<Read> {
    const { options, rings, vault, clock, random } = this.#context
    const { identity, secrecy } = options
    if (payload.length > OPENED_BYTES) return { kind: 'opened', opened: { verdict: 'unreadable' } }
    const tag = tagOf(payload)
    if (origin.kind === 'address' && rings !== undefined) {
      const { contact } = origin
      const ring = await rings.load(contact)
      if (recognise(ring, tag) === 'read') return { kind: 'duplicate', contact, id: ring.seen.get(tag)! }
      const found = await openWith(listKeys(ring), payload)
      if (found !== undefined) {
        const { key, text } = found
        return { kind: 'opened', opened: await judge(identity.key, text, judging), way: { tag, protection: 'one-time', key: key.place } }
      }
    }
    // The latest recipient of the day is the most likely one.
    const days = vault?.state.days.map(({ seed }) => hybridKey(seed)).toReversed() ?? []
    const daily = days.length === 0 ? undefined : await openWith(days, payload)
    const text = daily?.text ?? (await open({ opens: [...identity.opens, ...(secrecy?.inbox.opens ?? [])] }, payload))
    if (text !== undefined) {
      const protection = daily === undefined ? 'key' : 'daily'
      return { kind: 'opened', opened: await judge(identity.key, text, judging), way: { tag, protection } }
    }
    if (rings === undefined) return { kind: 'opened', opened: { verdict: 'unreadable' } }
    if (origin.kind !== 'address') {
      const found = origin.kind === 'key' ? await this.#openAsMember(tag, payload) : undefined
      if (found === undefined) return { kind: 'opened', opened: { verdict: 'unreadable' } }
      if ('id' in found) return { kind: 'duplicate', ...found }
      const way: Way = { tag, protection: 'one-time', key: found.key.place }
      return { kind: 'opened', opened: await judge(identity.key, found.text, judging), way }
    }
    await rings.change(origin.contact, (ring) => ({
      ring: onUnopened(ring, { tag, now: Math.floor(clock.now() / 1_000), random: random() }),
      value: undefined,
    }))
    return { kind: 'unopened' }
  }

  /**
   * At a relay that knows its members, all contacts write to the mailbox of the user's own key.
   * @returns the contact and the id of a message that came before
   * @throws errors of the store, if no ring that can be read opens the payload
   */
  async #openAsMember(
    tag: string,
    payload: Uint8Array,
  ): Promise<Awaited<ReturnType<typeof openWith<RingKey>>> | { readonly contact: string; readonly id: string }> {
    const { options, rings } = this.#context
    if ((options.secrecy?.members ?? []).length === 0) return undefined
    const loaded = rings!.loadAll()
    await loaded.catch(() => {})
    const findDuplicate = (): { contact: string; id: string } | undefined => {
      for (const [contact, ring] of rings!.all()) if (recognise(ring, tag) === 'read') return { contact, id: ring.seen.get(tag)! }
      return undefined
    }
    const duplicate = findDuplicate()
    if (duplicate !== undefined) return duplicate
    for (const [, ring] of rings!.all()) {
      const found = await openWith(listKeys(ring), payload)
      if (found !== undefined) return found
    }
    await loaded
    // Meanwhile a copy may have been read, and its key erased.
    return findDuplicate()
  }

  /**
   * A genuine message of a contact was shown or stored, or came again: stores the ring without its key
   * (R4), and takes the keys that it brings.
   * @returns what the messenger has to do, and to tell the user
   * @throws errors of the store
   */
  async onRead(envelope: Envelope, from: Contact, way: Way | undefined): Promise<readonly RingEvent[]> {
    const { rings, sealer } = this.#context
    if (rings === undefined || sealer === undefined || way === undefined) return []
    const contact = fingerprintOf(from.key)
    await sealer.adopt(from)
    const { id, time, after, left, keys, address, begin, content } = envelope
    const proof =
      from.inbox === undefined
        ? 'unknown'
        : begin !== undefined && (await isBegunBy(from.inbox, begin, envelope)) === true
          ? 'proven'
          : 'unproven'
    const isPlain = way.key === undefined && left === undefined && begin === undefined && keys === undefined && address === undefined
    const events = await rings.change(contact, (ring) => {
      // The contact's program has no one-time keys, and no key needs to be erased.
      if (isPlain && ring.usedAt === undefined) return undefined
      // Between the tags and the ring the program may have ended: then the ring does not have the message yet.
      const repeated = time > this.#now + FUTURE || time < this.#now - STALE || new Set(ring.seen.values()).has(id)
      const {
        ring: next,
        erased,
        events,
      } = onRead(ring, {
        now: this.#now,
        id,
        time,
        tag: way.tag,
        key: way.key ?? 'daily',
        begin: proof,
        ...(isChained(content) && { chained: after === undefined ? {} : { after } }),
        ...(left !== undefined && { left }),
        ...(keys && { keys }),
        ...(address && { address }),
        ...(repeated && { repeated: true as const }),
      })
      return { ring: next, erased, value: events }
    })
    this.#tell(events ?? [], from)
    return events ?? []
  }

  /** The user says that an unproven beginning is the contact's. @returns whether there was one */
  async accept(from: Contact): Promise<boolean> {
    const { rings } = this.#context
    const events = await rings?.change(fingerprintOf(from.key), (ring) => {
      const change = onAccept(ring, this.#now)
      return change && { ring: change.ring, erased: change.erased, value: change.events }
    })
    this.#tell(events ?? [], from)
    return events !== undefined
  }

  /**
   * A signed message came to an address: its contact knows the address. If another person writes to it, the contact gets
   * a new one with the next message; once a day at most, since a contact could tell other people each new one.
   */
  async onAddressUsed({ contact, relay, secret }: Address, from: string): Promise<void> {
    const { vault } = this.#context
    const isIt = (each: Address): boolean => each.contact === contact && each.relay === relay && isSame(each.secret, secret)
    const address = vault?.state.addresses.find(isIt)
    // That a contact uses an earlier address does not tell that the contact has the present one.
    if (vault === undefined || address === undefined || address.replaced !== undefined) return
    if (contact !== from) {
      if (Math.abs(this.#now - address.since) >= DAY) await this.renewAddress(contact)
    } else if (!address.isKnown) {
      await vault.change((state) => ({
        ...state,
        addresses: state.addresses.map((each) => (isIt(each) ? { ...each, isKnown: true } : each)),
      }))
    }
  }

  /** The contact gets a new address with the next message; the old one is read for a while. */
  async renewAddress(contact: string): Promise<void> {
    await this.#context.vault?.change((state) => ({
      ...state,
      addresses: state.addresses.map((each) =>
        each.contact === contact && each.replaced === undefined ? { ...each, isKnown: false, replaced: this.#now } : each,
      ),
    }))
  }

  /**
   * The user has removed the contact: gives up the addresses of that contact, and erases the keys and everything else
   * that is remembered for secrecy.
   */
  async forget({ key, inbox }: Contact): Promise<void> {
    const { vault, rings } = this.#context
    const contact = fingerprintOf(key)
    const others = <T>(map: ReadonlyMap<string, T>, name: string): ReadonlyMap<string, T> =>
      new Map([...map].filter(([each]) => each !== name))
    await vault?.change((state) => ({
      ...state,
      addresses: state.addresses.filter((each) => each.contact !== contact),
      strangers: others(state.strangers, contact),
      bundles: others(state.bundles, inbox === undefined ? '' : fingerprintOf(inbox)),
    }))
    await rings?.remove(contact)
  }

  /** The first message of a person who is no contact was shown or stored: remembers how to answer it. */
  async onStranger({ from, id, time, keys = [], address = [], begin }: Envelope): Promise<void> {
    if (keys.length === 0 && address.length === 0) return
    const fingerprint = fingerprintOf(from)
    await this.#context.vault?.change((state) => {
      const before = state.strangers.get(fingerprint)
      if (before !== undefined && before.time >= time) return state
      return {
        ...state,
        strangers: keep(state.strangers, fingerprint, { id, time, keys, address, ...(begin && { begin }) }, SECRETS.strangers),
      }
    })
  }

  #tell(events: readonly RingEvent[], contact: Contact): void {
    for (const event of events) this.#context.emit({ kind: 'ring', event, contact })
  }

  get #now(): number {
    return Math.floor(this.#context.clock.now() / 1_000)
  }
}

const isSame = (one: Uint8Array, other: Uint8Array): boolean => one.length === other.length && one.every((byte, at) => byte === other[at])
