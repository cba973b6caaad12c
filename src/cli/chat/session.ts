/** A running chat: gives messages and events to the model, shows its states, and performs its effects. */
import { uptime } from 'node:os'
import { fingerprintOf } from '../../client/format/field.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { formatRequest } from '../talk/request.ts'
import { Archive } from './archive.ts'
import { Attachments } from './attachment.ts'
import { Context, type SessionOptions } from './context.ts'
import { Dispatch } from './dispatch.ts'
import type { Effect, Typed } from './input.ts'
import { Intake } from './intake.ts'
import { describeClock } from '../../wording/refusal.ts'
import { describeKeyEvent, type KeyEvent } from '../../wording/ring.ts'
import { listPaths } from './path.ts'
import { findWords } from './find.ts'
import { accept, block, ignore } from './request.ts'
import { add, changeGroup, join, keepRule, showCard, verify } from './task.ts'
import { describeError, describeRelayError } from './wording.ts'

/** How long leaving waits for acknowledgements and receipts to go out, ms. */
const FLUSH_MS = 3_000
/** The least time between two notifications, ms. */
const ATTENTION_MS = 5_000
/** How often messages disappear, ms. */
const TICK_MS = 1_000
/** How often the history erases old files, ms. */
const PRUNE_MS = 3_600_000

/** How much of a request's text the line about it has, in characters. */
const MOST_TOLD = 200

export class Session {
  readonly #options: SessionOptions
  readonly #events: AsyncIterable<MessengerEvent>
  readonly #context: Context
  readonly #archive: Archive
  readonly #dispatch: Dispatch
  readonly #attachments: Attachments
  readonly #intake: Intake
  readonly #quit = Promise.withResolvers<void>()
  #attentionAt = -Infinity
  /** Lines about keys. */
  readonly #told = new Set<string>()
  /** The relays that the chat receives from, those in the profile, and the setting of the profile. */
  #relays: readonly string[]
  #stored: readonly string[]
  #receipts: boolean

  /** Subscribes to the messenger's events. */
  constructor(options: SessionOptions) {
    this.#options = options
    this.#events = options.messenger.events()
    this.#relays = options.relays
    this.#stored = options.stored ?? options.relays
    this.#receipts = options.receipts
    this.#context = new Context(
      options,
      (effect) => this.#perform(effect),
      (error) => this.#quit.reject(error),
    )
    this.#archive = new Archive(this.#context)
    this.#dispatch = new Dispatch(this.#context, this.#archive)
    this.#attachments = new Attachments(this.#context, this.#archive)
    this.#intake = new Intake(this.#context, this.#archive)
  }

  /**
   * Runs until the user leaves, or the signal is aborted.
   * @param open the conversation to begin with
   * @returns whether a relay at least has everything that the user sent
   */
  async run(open: string | undefined, signal: AbortSignal): Promise<boolean> {
    const { front, messenger, relays, history } = this.#options
    const context = this.#context
    for (const relay of relays) context.put({ kind: 'relay', relay: { relay, state: 'connecting' } })
    context.showPeople()
    if (open !== undefined) context.put({ kind: 'open', conversation: open })
    if (history !== undefined) await this.#archive.recall(history)
    const left = messenger.deliveries().length
    if (left > 0) context.tell(`${left} of your earlier messages ${left === 1 ? 'is' : 'are'} still on the way`)
    const stop = (): void => this.#quit.resolve()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    context.begin()
    front.start({ onInput: (input) => context.put(input), onEnd: () => void this.#end(signal) })
    front.show(context.state)
    for (const loop of [this.#follow(this.#events), this.#receive(messenger.received())])
      loop.catch((error: unknown) => this.#quit.reject(error))
    const tick = setInterval(() => context.put({ kind: 'tick', seconds: this.#options.seconds?.() ?? uptime() }), TICK_MS)
    const prune = setInterval(() => void history?.prune().catch(() => {}), PRUNE_MS)
    try {
      await this.#quit.promise
    } finally {
      clearInterval(tick)
      clearInterval(prune)
      context.end()
      front.stop()
    }
    await history?.idle()
    // Send the acknowledgements and receipts of shown messages, unless the relay is out of reach.
    await messenger.flush({ signal: AbortSignal.timeout(FLUSH_MS) }).catch(() => {})
    return this.#attachments.isDone && this.#dispatch.isDone
  }

  /** Whether another command may show a message: it is in no open conversation. Then it is not new here any more. */
  releases(received: Received): boolean {
    return this.#intake.releases(received)
  }

  /** Another command has changed the contacts, the groups or the settings. */
  onProfile({ relays, receipts }: { readonly relays: readonly string[]; readonly receipts: { readonly read: boolean } }): void {
    this.#context.showPeople()
    if (relays.length > 0 && this.#relays.join() === this.#stored.join()) this.#followRelays(relays)
    if (receipts.read !== this.#receipts) this.#context.put({ kind: 'receipts', on: receipts.read })
    this.#receipts = receipts.read
    this.#stored = relays
  }

  /** The contact requests have changed. */
  onRequests(requests: readonly ContactRequest[]): void {
    const { people } = this.#options
    const before = new Set(people.parties().flatMap(({ id, kind }) => (kind === 'request' ? [id] : [])))
    people.requests = requests
    this.#context.showPeople()
    // A person whose request is shown already cannot take the line again.
    for (const request of requests) {
      const [first] = request.messages
      if (first === undefined || before.has(fingerprintOf(request.card.key))) continue
      const line = formatRequest(request, { ...first, text: first.text.slice(0, MOST_TOLD) }, people.book)
      this.#context.tell(line.replaceAll('\n', ' '))
    }
  }

  #followRelays(relays: readonly string[]): void {
    for (const relay of this.#relays) if (!relays.includes(relay)) this.#context.put({ kind: 'relay-gone', relay })
    this.#relays = relays
  }

  /** Another command has the mailbox, or this chat has taken it over. */
  tellOwner(what: string | undefined): void {
    const text =
      what === undefined
        ? 'this chat has the mailbox now'
        : `the ${what} that runs already has the mailbox; this chat shows what comes, too`
    this.#context.tell(text)
  }

  /** The input has ended. */
  async #end(signal: AbortSignal): Promise<void> {
    if (this.#options.patient) {
      const aborted = new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }))
      await Promise.race([aborted, Promise.all([this.#dispatch.accepted(), this.#attachments.settled()])])
    }
    this.#quit.resolve()
  }

  #perform(effect: Effect): void {
    const { front, messenger, people } = this.#options
    const context = this.#context
    const refuse =
      ({ command }: { readonly command: Typed }) =>
      (why: string): void =>
        context.put({ kind: 'refused', command, why })
    switch (effect.kind) {
      case 'send':
        return this.#dispatch.send(effect)
      case 'edit':
      case 'remove':
        return this.#dispatch.change(effect)
      case 'file':
        return this.#attachments.send(effect)
      case 'card':
        return showCard(context)
      case 'connect':
        for (const relay of this.#relays) messenger.receiveFrom(relay)
        return
      case 'verify':
        return context.attempt(() => verify(context, effect.conversation, effect.confirmed), refuse(effect))
      case 'add':
        return context.attempt(() => add(context, effect.card, effect.name), refuse(effect))
      case 'join':
        return context.attempt(() => join(context, this.#dispatch, effect.invite), refuse(effect))
      case 'accept':
        return context.attempt(() => accept(context, this.#archive, effect), refuse(effect))
      case 'ignore':
        return context.attempt(() => ignore(context, effect.conversation), refuse(effect))
      case 'block':
        return context.attempt(() => block(context, effect.conversation, effect.isOn), refuse(effect))
      case 'group':
        return context.attempt(
          () => changeGroup(context, this.#dispatch, people.groupOf(effect.conversation), effect.words),
          refuse(effect),
        )
      case 'receipts':
        // Nothing to do: without receipts, the model causes no `read`.
        return
      case 'mute':
      case 'expires':
        return context.attempt(() => keepRule(context, effect), refuse(effect))
      case 'find':
        return context.attempt(() => findWords(context, effect.words), refuse(effect))
      case 'paths':
        return context.attempt(async () => context.put({ kind: 'paths', line: effect.line, found: await listPaths(effect.prefix) }))
      case 'done':
        return effect.tickets.forEach((ticket) => this.#intake.onShown(ticket))
      case 'read':
        for (const { from, id } of effect.messages) {
          const contact = people.find(from)
          if (contact !== undefined) messenger.read(contact, [id])
        }
        return
      case 'attention':
        if (!this.#options.notify || context.now() < this.#attentionAt) return
        this.#attentionAt = context.now() + ATTENTION_MS
        return front.notify()
      case 'alone':
        return front.alone(effect.text)
      case 'redraw':
        return front.redraw()
      case 'suspend':
        return front.suspend()
      case 'quit':
        return this.#quit.resolve()
    }
  }

  /** Shows a change of keys in the conversation with the contact; if that is not open, also in the line to the user. */
  #onKeys(event: KeyEvent): void {
    const context = this.#context
    const name = event.kind === 'ring' ? event.contact.name : ''
    const { text, hint } = describeKeyEvent(event, name, '/accept in the conversation')
    // A contact may begin anew again; the other events repeat with each message or login.
    if (hint !== undefined && this.#told.has(text)) return
    this.#told.add(text)
    const whole = hint === undefined ? text : `${text}; ${hint}`
    const conversation = event.kind === 'ring' ? fingerprintOf(event.contact.key) : undefined
    if (conversation !== undefined) context.put({ kind: 'note', conversation, text: whole })
    if (conversation === undefined || context.state.open !== conversation) context.tell(whole, hint !== undefined)
  }

  async #receive(received: AsyncIterable<Received>): Promise<void> {
    for await (const each of received) await this.#intake.onReceived(each)
  }

  async #follow(events: AsyncIterable<MessengerEvent>): Promise<void> {
    for await (const event of events) this.#onEvent(event)
  }

  #onEvent(event: MessengerEvent): void {
    const context = this.#context
    switch (event.kind) {
      case 'delivery':
        return this.#dispatch.onDelivery(event.delivery)
      case 'relay': {
        if (event.purpose !== 'receive') return
        const why = event.error === undefined ? undefined : describeRelayError(event.error, event.relay)
        return context.put({ kind: 'relay', relay: { relay: event.relay, state: event.state, ...(why !== undefined && { why }) } })
      }
      case 'taken-over': {
        const why = 'another client has taken over this mailbox; /connect takes it back'
        return context.put({ kind: 'relay', relay: { relay: event.relay, state: 'down', why } })
      }
      case 'forgotten':
        return context.tell(`${event.relay} restarted; the client sends unconfirmed messages again`)
      case 'moved':
        return context.tell(`${event.relay} is moving to ${event.name}; if you trust it, put that address into your profile`, true)
      case 'not-kept':
        return context.tell(describeError(event.error) ?? 'the outbox cannot be stored', true)
      case 'not-said':
        return context.tell(`${event.to.name} got no receipt: your key cannot sign at the moment`, true)
      case 'clock':
        return context.tell(describeClock(event, context.now()), true)
      case 'duplicate':
        return
      case 'ring':
      case 'other-bundle':
        return this.#onKeys(event)
      case 'file-sent':
        return this.#attachments.onSent(event.file)
      case 'file-received':
        return this.#attachments.onReceived(event)
    }
  }
}
