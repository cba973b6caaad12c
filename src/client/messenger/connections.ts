/**
 * The connections on which a messenger receives. Without `secrecy`: one for each of the user's relays, as the user's own
 * key. With it: the inbox at the first relay, on one connection; all addresses at a relay, on another; the user's own
 * mailbox only if the user says so (docs/protocol.md, section 14).
 */
import type { Message } from '../../protocol/answer.ts'
import { isOver, SPREAD_MS } from '../delivery/backoff.ts'
import { fingerprintOf } from '../format/field.ts'
import type { RelayClient } from '../wire/client.ts'
import { AddressConnection } from './addresses.ts'
import type { Context } from './context.ts'
import { Incoming } from './incoming.ts'
import type { Source } from './inbox.ts'
import { Publisher } from './publisher.ts'
import type { Origin } from './reader.ts'
import type { Address } from './secrets.ts'

export interface ConnectionsPort {
  /** Resolves once messages can be judged. */
  readonly load: () => Promise<void>
  readonly onUp: (relay: string) => void
  readonly onMessage: (source: Source, relay: string, origin: Origin, message: Message) => Promise<void>
}

/** How long to wait after a bundle could not be published, ms. */
const AGAIN_MS = 600_000

/** A connection on which the bundle is published. */
interface Published {
  readonly relay: string
  /** The fingerprint of the mailbox that holds it. */
  readonly mailbox: string
  readonly client: RelayClient
  publishAt: number
}

interface State {
  readonly state: 'connecting' | 'up' | 'down'
  readonly error?: unknown
  readonly waiting?: number
  readonly again?: number
  /** It connects after a failure, so the relay is not up again. */
  readonly isRetry?: true
}

/**
 * Returns the relays of the inbox and of the addresses: with two relays or more, no relay has both, unless two shall have
 * addresses.
 * @param copies 2: addresses at two relays, if there are two
 */
export function rolesOf(
  relays: readonly string[],
  copies = 1,
): { readonly inbox: readonly string[]; readonly addresses: readonly string[] } {
  if (copies === 2 && relays.length === 2) return { inbox: relays.slice(0, 1), addresses: relays }
  return relays.length > 1 ? { inbox: relays.slice(0, 1), addresses: relays.slice(1) } : { inbox: relays, addresses: relays }
}

export class Connections {
  readonly #context: Context
  readonly #port: ConnectionsPort
  readonly #publisher: Publisher
  /** By kind and relay. */
  readonly #incoming = new Map<string, Incoming>()
  readonly #addresses = new Map<string, AddressConnection>()
  /** By relay: the states of its connections, by kind. */
  readonly #states = new Map<string, Map<string, State>>()
  /** By relay: the state that was reported last. */
  readonly #shown = new Map<string, State['state']>()
  /** The connection of the inbox, and when to publish there again. */
  #inbox: Published | undefined
  #relays: readonly string[] = []

  constructor(context: Context, port: ConnectionsPort) {
    this.#context = context
    this.#port = port
    this.#publisher = new Publisher(context)
  }

  /** Receives from these relays, and from no others. */
  set(relays: readonly string[]): void {
    this.#relays = relays
    const { secrecy } = this.#context.options
    const isMember = (relay: string): boolean => secrecy === undefined || secrecy.members?.includes(relay) === true
    // A relay that the user names on the command line may have the inbox, too.
    const own = secrecy?.relays() ?? []
    const inboxes = secrecy === undefined ? [] : relays.filter((relay) => !own.includes(relay) || rolesOf(own).inbox.includes(relay))
    const wanted = new Map<string, readonly [string, 'key' | 'inbox']>()
    for (const relay of relays) if (isMember(relay) || secrecy?.isPublic === true) wanted.set(`key ${relay}`, [relay, 'key'])
    for (const relay of inboxes) if (!isMember(relay)) wanted.set(`inbox ${relay}`, [relay, 'inbox'])
    for (const [name, incoming] of this.#incoming) {
      if (wanted.has(name)) continue
      incoming.close()
      this.#incoming.delete(name)
      this.#forget(name)
    }
    for (const [name, [relay, kind]] of wanted) if (!this.#incoming.has(name)) this.#incoming.set(name, this.#receiveFrom(relay, kind))
    // Addresses at all relays are read, also at those that the user has left: contacts use the earlier ones for a while.
    const isWhole = own.length > 0 && own.every((relay) => relays.includes(relay))
    const former = isWhole ? this.#context.vault!.state.addresses.map(({ relay }) => relay) : []
    const read = new Set(secrecy === undefined ? [] : [...relays, ...former].filter((relay) => !isMember(relay)))
    for (const [relay, connection] of this.#addresses) {
      if (!relays.includes(relay)) this.#forget(`address ${relay}`)
      if (read.has(relay) && this.#addressesAt(relay).length > 0) continue
      connection.close()
      this.#addresses.delete(relay)
      this.#forget(`address ${relay}`)
    }
    for (const relay of read) this.#readAddresses(relay)
  }

  #addressesAt(relay: string): Address[] {
    return this.#context.vault!.state.addresses.filter((each) => each.relay === relay)
  }

  #readAddresses(relay: string): void {
    const all = this.#addressesAt(relay)
    const connection = this.#addresses.get(relay)
    if (connection !== undefined) return connection.set(all)
    if (all.length === 0) return
    const { clock, random, connectClaims, onAcked } = this.#context
    this.#addresses.set(
      relay,
      new AddressConnection(
        {
          clock,
          random,
          connect: async (options) => {
            await this.#context.ready()
            await this.#port.load()
            return connectClaims(relay, options)
          },
          onState: (state, more) => this.#onState('address', relay, { state, ...more }),
          onMessage: (source, address, message) =>
            this.#port.onMessage(source, relay, { kind: 'address', contact: address.contact, address }, message),
          onAcked,
          onTakenOver: () => this.#context.emit({ kind: 'taken-over', relay }),
        },
        all,
      ),
    )
  }

  /** Tries a relay again at once, also if another client took a mailbox there over. */
  hurry(relay: string): void {
    for (const kind of ['key', 'inbox'] as const) {
      const name = `${kind} ${relay}`
      const incoming = this.#incoming.get(name)
      if (incoming?.isOver === true) this.#incoming.set(name, this.#receiveFrom(relay, kind))
      else incoming?.hurry()
    }
    this.#addresses.get(relay)?.hurry()
  }

  /** Whether a relay of the user can be reached. */
  get isUp(): boolean {
    return [...this.#shown.values()].includes('up')
  }

  get busy(): boolean {
    return [...this.#incoming.values(), ...this.#addresses.values()].some(({ busy }) => busy)
  }

  /** @returns the relays that did not deliver all waiting messages, with the errors */
  async fetched(): Promise<Map<string, unknown>> {
    await this.#context.ready().catch(() => {})
    const missed = new Map<string, unknown>()
    for (const [name, { fetched }] of [...this.#incoming, ...this.#addresses]) {
      const error = await fetched
      const relay = name.slice(name.indexOf(' ') + 1)
      // A relay that the user has left may be gone.
      if (error !== undefined && this.#relays.includes(relay)) missed.set(relay, error)
    }
    return missed
  }

  /** Publishes the bundle of a new day. */
  tick(now: number): void {
    // The longest pause is 25 hours. A longer one means that the clock was set back: the bundle is dated in the future.
    if (this.#inbox !== undefined && isOver(this.#inbox.publishAt, now, 150 * AGAIN_MS)) this.#publish(this.#inbox)
  }

  due(): number {
    if (this.#inbox === undefined) return Number.POSITIVE_INFINITY
    // A clock that was set back must not delay it.
    return Math.min(this.#inbox.publishAt, this.#context.clock.now() + AGAIN_MS)
  }

  close(): void {
    for (const incoming of this.#incoming.values()) incoming.close()
    for (const connection of this.#addresses.values()) connection.close()
  }

  #receiveFrom(relay: string, kind: 'key' | 'inbox'): Incoming {
    const { clock, random, ready, connect, options, emit, onAcked } = this.#context
    // At a relay that knows its members the bundle of the inbox is in the mailbox of the user's own key.
    const publishes =
      kind === 'inbox' || (options.secrecy?.members?.includes(relay) === true && rolesOf(this.#relays).inbox.includes(relay))
    const incoming: Incoming = new Incoming({
      clock,
      random,
      connect: async (more) => {
        await ready()
        await this.#port.load()
        const client = await connect(relay, more, kind === 'inbox' ? options.secrecy!.inbox : undefined)
        if (!publishes) return client
        const mailbox = fingerprintOf((kind === 'inbox' ? options.secrecy!.inbox : options.identity).key)
        const inbox = { relay, mailbox, client, publishAt: Number.POSITIVE_INFINITY }
        this.#inbox = inbox
        client.onEnd(() => {
          if (this.#inbox === inbox) this.#inbox = undefined
        })
        this.#publish(inbox)
        return client
      },
      ...(kind === 'inbox' && { spread: SPREAD_MS }),
      onState: (state, more) => this.#onState(kind, relay, { state, ...more }),
      onMessage: (message) => this.#port.onMessage(incoming, relay, { kind }, message),
      onAcked,
      onTakenOver: () => emit({ kind: 'taken-over', relay }),
    })
    return incoming
  }

  #publish(inbox: Published): void {
    const { clock, track, schedule, emit } = this.#context
    const { relay } = inbox
    inbox.publishAt = Number.POSITIVE_INFINITY
    void track(
      this.#publisher.publish(inbox).then(
        (at) => {
          inbox.publishAt = at
          emit({ kind: 'published', relay })
        },
        // A connection that ended publishes at the next login; a relay that refuses, or a full disk, is tried again.
        (error: unknown) => {
          inbox.publishAt = clock.now() + AGAIN_MS
          emit({ kind: 'published', relay, error })
        },
      ),
    ).finally(schedule)
  }

  /** Reports the state of a relay: down if one of its connections is, otherwise up if one is. */
  #onState(kind: string, relay: string, state: State): void {
    if (state.state === 'up') this.#port.onUp(relay)
    if (!this.#relays.includes(relay)) return
    const states = this.#states.get(relay) ?? new Map<string, State>()
    const before = states.get(kind)
    const isRetry = state.state === 'connecting' && (before?.state === 'down' || before?.isRetry === true)
    this.#states.set(relay, states.set(kind, isRetry ? { ...state, isRetry } : state))
    const all = [...states.values()]
    const isUp = all.some((each) => each.state === 'up')
    const lacking = all.find((each) => each.state === 'down') ?? all.find((each) => each.isRetry === true)
    const { isRetry: _, ...shown }: State = lacking ?? (isUp ? { state: 'up', waiting: state.waiting ?? 0 } : state)
    // Another connection to a relay that is up already is news only if it finds messages.
    const isNews = this.#shown.get(relay) !== shown.state || state.state === 'down' || (shown.state === 'up' && (state.waiting ?? 0) > 0)
    this.#shown.set(relay, shown.state)
    if (isNews) this.#context.emit({ kind: 'relay', relay, purpose: 'receive', ...shown })
    this.#context.schedule()
  }

  #forget(name: string): void {
    const [kind = '', relay = ''] = name.split(' ')
    const states = this.#states.get(relay)
    states?.delete(kind)
    if (states?.size !== 0) return
    this.#states.delete(relay)
    this.#shown.delete(relay)
  }
}
