/**
 * A chat that runs: it gives what comes to the model and the model's states to the front, and does what the model
 * wants done. A message is acknowledged after it was shown, or after it was kept where a history is kept, never before.
 */
import { basename } from 'node:path'
import { type Card, parseCard } from '../../client/format/card.ts'
import { decodeText, fingerprintOf } from '../../client/format/field.ts'
import { type Group, parseGroup } from '../../client/format/group.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { Content } from '../../client/format/content.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Messenger } from '../../client/messenger/messenger.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import { randomart, safetyWords } from '../../client/format/safety.ts'
import { openFile, sourceOf } from '../talk/departure.ts'
import { resolvePath } from '../disk/file.ts'
import type { KnownGroup } from '../profile/groups.ts'
import { CliError } from '../program/error.ts'
import { type Delivery as Shown, STRANGERS } from './conversation.ts'
import type { Front } from './front.ts'
import { describeChange, drawUp, takeCard } from './group.ts'
import type { Happened, History } from './history.ts'
import type { Arrival, Effect, Input } from './input.ts'
import { update } from './model.ts'
import { listPaths } from './path.ts'
import { GROUP, type People } from './people.ts'
import { initialState, type State } from './state.ts'
import { formatBytes, type Look } from './transcript.ts'
import { ARRIVAL_FAILURES, describeContent, describeError, fileFailure, shownDelivery } from './wording.ts'

export interface SessionOptions {
  readonly messenger: Pick<Messenger, 'send' | 'sendFile' | 'received' | 'events' | 'read' | 'flush' | 'deliveries'>
  readonly people: People
  readonly identity: Identity
  /** How one is called, and one's own card where there is one. */
  readonly name: string
  readonly card?: Card
  /** Where a file that came was put, by its id. */
  readonly places: ReadonlyMap<string, string>
  /** One's own. */
  readonly relays: readonly string[]
  readonly front: Front
  readonly history?: History
  readonly look: Look
  readonly receipts: boolean
  /** Ask for attention when something comes that the person does not see. */
  readonly notify: boolean
  /** At the end of what is typed, wait until a relay has all of it: for pipes. */
  readonly patient: boolean
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** Strangers' messages that are not acknowledged before they were shown: with more, they could take all of a relay's window. */
const STRANGERS_HELD = 16
/** What is on its way out when one leaves has so long. Milliseconds. */
const FLUSH_MS = 3_000
const ATTENTION_MS = 5_000
const SIZE = { rows: 24, columns: 80 }

export class Session {
  readonly #options: SessionOptions
  readonly #events: AsyncIterable<MessengerEvent>
  #state: State
  readonly #tickets = new Map<number, Received>()
  #nextTicket = 1
  readonly #sent = new Map<string, Delivery>()
  /** Files on their way out, by their entry; of a group, one for each member. */
  readonly #files = new Map<number, readonly FileDelivery[]>()
  /** One's own messages that a history has. */
  readonly #inHistory = new Set<string>()
  readonly #quit = Promise.withResolvers<void>()
  #attentionAt = -Infinity
  #isShown = false
  #over = false

  /** From now on it hears what the messenger says. */
  constructor(options: SessionOptions) {
    this.#options = options
    this.#events = options.messenger.events()
    this.#state = initialState({ me: options.name, look: options.look, size: SIZE, receipts: options.receipts })
  }

  /**
   * Talks until the person leaves, or the signal says so.
   * @param open the conversation to begin with
   * @returns whether everything that was written is with a relay at least
   */
  async run(open: string | undefined, signal: AbortSignal): Promise<boolean> {
    const { front, messenger, history } = this.#options
    for (const relay of this.#options.relays) this.#put({ kind: 'relay', relay: { relay, state: 'connecting' } })
    this.#showPeople()
    if (open !== undefined) this.#put({ kind: 'open', conversation: open })
    if (history !== undefined) await this.#recall(history)
    const left = messenger.deliveries().length
    if (left > 0) this.#tell(`${left} of your messages from before ${left === 1 ? 'is' : 'are'} on the way still`)
    const stop = (): void => this.#quit.resolve()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    this.#isShown = true
    front.start({ onInput: (input) => this.#put(input), onEnd: () => void this.#end(signal) })
    front.show(this.#state)
    const loops = [this.#listen(this.#events), this.#receive(messenger.received())]
    for (const loop of loops) loop.catch((error: unknown) => this.#quit.reject(error))
    try {
      await this.#quit.promise
    } finally {
      this.#over = true
      front.stop()
    }
    await history?.idle()
    // Acknowledgements and receipts of what was shown; a relay that cannot be reached is not waited for.
    await messenger.flush({ signal: AbortSignal.timeout(FLUSH_MS) }).catch(() => {})
    const areFilesThere = [...this.#files.values()].flat().every(({ state }) => state === 'done')
    return areFilesThere && [...this.#sent.values()].every(({ state }) => state !== 'waiting' && state !== 'failed')
  }

  #put(input: Input): void {
    if (this.#over) return
    const { state, effects } = update(this.#state, input, this.#now())
    const isOther = state !== this.#state
    this.#state = state
    for (const effect of effects) this.#do(effect)
    if (isOther && this.#isShown) this.#options.front.show(this.#state)
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now()
  }

  /** Contacts or groups are others now. */
  #showPeople(): void {
    this.#put({ kind: 'people', parties: this.#options.people.parties() })
  }

  #tell(text: string, bad = false): void {
    this.#put({ kind: 'told', text, role: bad ? 'bad' : 'plain' })
  }

  /** Does it, and tells why not. */
  #try(work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      const told = describeError(error)
      if (told === undefined) this.#quit.reject(error)
      else this.#tell(told, true)
    })
  }

  /** Nothing more will be typed. */
  async #end(signal: AbortSignal): Promise<void> {
    if (this.#options.patient) {
      const aborted = new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }))
      const files = [...this.#files.values()].flat()
      await Promise.race([
        aborted,
        Promise.all([...[...this.#sent.values()].map(({ accepted }) => accepted), ...files.map(({ settled }) => settled)]),
      ])
    }
    this.#quit.resolve()
  }

  // --- what is to be done ---

  #do(effect: Effect): void {
    const { front, messenger, people, card } = this.#options
    switch (effect.kind) {
      case 'send':
        return this.#send(effect)
      case 'edit':
        return this.#change(effect.of, effect.conversation, (of) => ({ type: 'edit', of, text: effect.text }))
      case 'remove':
        return this.#change(effect.of, effect.conversation, (of) => ({ type: 'remove', of }))
      case 'file':
        this.#sendFile(effect).catch((error: unknown) => {
          const why = error instanceof TypeError ? error.message : describeError(error)
          if (why === undefined) this.#quit.reject(error)
          else this.#failFile(effect, why)
        })
        return
      case 'card':
        if (card === undefined) return this.#tell('you have no card yet: `asfaleia me` makes it', true)
        return this.#put({ kind: 'show', title: 'your card, for those who should write to you', text: `${card.link}\n\n${card.text}` })
      case 'verify':
        return this.#try(() => this.#verify(effect.conversation, effect.confirmed))
      case 'add':
        return this.#try(() => this.#add(effect.card, effect.name))
      case 'group':
        return this.#try(() => this.#group(people.groupOf(effect.conversation), effect.words))
      case 'receipts':
        // The model asks for none while they are off.
        return
      case 'paths':
        return this.#try(async () => this.#put({ kind: 'paths', line: effect.line, found: await listPaths(effect.prefix) }))
      case 'done':
        return effect.tickets.forEach((ticket) => this.#done(ticket))
      case 'read':
        for (const { from, id } of effect.messages) {
          const contact = people.find(from)
          if (contact !== undefined) messenger.read(contact, [id])
        }
        return
      case 'attention':
        if (!this.#options.notify || this.#now() < this.#attentionAt) return
        this.#attentionAt = this.#now() + ATTENTION_MS
        return front.notify()
      case 'redraw':
        return front.redraw()
      case 'suspend':
        return front.suspend()
      case 'quit':
        return this.#quit.resolve()
    }
  }

  #send({ key, conversation, text, replyTo }: Extract<Effect, { kind: 'send' }>): void {
    const { people } = this.#options
    const receivers = people.receivers(conversation)
    if (receivers.length === 0) return this.#put({ kind: 'unsent', key, why: 'there is nobody left to write to' })
    const group = people.groupOf(conversation)?.group.id
    const replied = this.#state.conversations
      .find(({ id }) => id === conversation)
      ?.entries.find(({ id, from }) => from === 'them' && id === replyTo)
    const deliveries = receivers.map((contact) => {
      const member = fingerprintOf(contact.key)
      // In a group, only who wrote it knows the message by that id: the others get its first words.
      const knows = replyTo === undefined || group === undefined || replied?.fingerprint === member
      const content: Content = knows
        ? { type: 'text', text, ...(replyTo !== undefined && { replyTo }) }
        : { type: 'text', text: `> ${replied?.author ?? ''}: ${(replied?.text ?? '').split('\n')[0]}\n${text}` }
      return this.#dispatch(contact, content, group)
    })
    const shown = deliveries.map((delivery) => shownDelivery(delivery))
    this.#put({ kind: 'sent', key, deliveries: shown })
    this.#keep([
      {
        kind: 'message',
        message: {
          conversation,
          author: this.#options.name,
          at: this.#now(),
          verdict: 'genuine',
          text,
          mine: true,
          deliveries: shown,
          id: shown[0]!.id,
          ...(replyTo !== undefined && { replyTo }),
        },
      },
    ])
    for (const { id } of shown) this.#inHistory.add(id)
  }

  async #sendFile({ key, conversation, path }: Extract<Effect, { kind: 'file' }>): Promise<void> {
    const { people, messenger } = this.#options
    const receivers = people.receivers(conversation)
    if (receivers.length === 0) throw new CliError('there is nobody left to send it to')
    const file = await openFile(resolvePath(path))
    try {
      const { size } = await file.stat()
      const source = sourceOf(file, basename(path), size)
      const deliveries: FileDelivery[] = []
      for (const contact of receivers) deliveries.push(await messenger.sendFile(contact, source))
      this.#files.set(key, deliveries)
      this.#showFile(key, deliveries)
      const states = await Promise.all(deliveries.map(({ settled }) => settled))
      if (states.every((state) => state === 'done')) this.#keepFile(conversation, { name: basename(path), total: size }, true)
    } finally {
      await file.close()
    }
  }

  #failFile({ key, path }: Extract<Effect, { kind: 'file' }>, why: string): void {
    this.#put({ kind: 'transfer', key, transfer: { name: basename(path), total: 0, moved: 0, state: 'failed', note: why } })
    this.#put({ kind: 'sent', key, deliveries: [] })
  }

  #showFile(key: number, deliveries: readonly FileDelivery[]): void {
    const [first] = deliveries
    if (first === undefined) return
    const failed = deliveries.find(({ state }) => state === 'refused' || state === 'expired' || state === 'failed')
    const isDone = deliveries.every(({ state }) => state === 'done')
    const moved = deliveries.reduce((least, { confirmed }) => Math.min(least, confirmed), first.total)
    const note = failed === undefined ? (isDone ? 'arrived, and its hash is right' : undefined) : fileFailure(failed)
    this.#put({
      kind: 'transfer',
      key,
      transfer: {
        name: first.name,
        total: first.total,
        moved,
        state: failed !== undefined ? 'failed' : isDone ? 'done' : 'moving',
        ...(note !== undefined && { note }),
      },
    })
    // Its progress says how it gets on.
    this.#put({ kind: 'sent', key, deliveries: [] })
  }

  #dispatch(contact: Contact, content: Content, group: string | undefined): Delivery {
    const delivery = this.#options.messenger.send(contact, content, { ...(group !== undefined && { group }) })
    this.#sent.set(delivery.id, delivery)
    return delivery
  }

  #change(of: readonly Shown[], conversation: string, build: (id: string) => Content): void {
    const { people } = this.#options
    const group = people.groupOf(conversation)?.group.id
    for (const { id, member } of of) {
      const contact = people.find(member)
      if (contact === undefined || id === '') continue
      const content = build(id)
      this.#dispatch(contact, content, group)
    }
    const [first] = of
    const content = build(first?.id ?? '')
    const change = content.type === 'edit' ? { of: content.of, to: 'edited' as const } : { of: first?.id ?? '', to: 'removed' as const }
    const text = content.type === 'edit' ? content.text : ''
    this.#keep([
      {
        kind: 'message',
        message: {
          conversation,
          author: this.#options.name,
          at: this.#now(),
          verdict: 'genuine',
          text,
          mine: true,
          deliveries: [],
          change,
        },
      },
    ])
  }

  async #verify(fingerprint: string, confirmed: boolean): Promise<void> {
    const { people, identity } = this.#options
    const known = people.book.find(fingerprint)
    if (known === undefined) throw new CliError('that contact is not in the book')
    if (confirmed) {
      await people.book.verify(known)
      this.#showPeople()
      return this.#tell(`${known.name} is verified`)
    }
    const words = await safetyWords(identity.key, known.key)
    const lines = [0, 4, 8].map((start) => `  ${words.slice(start, start + 4).join('  ')}`)
    this.#put({
      kind: 'show',
      title: `is this ${known.name}?`,
      text: `Read these words to each other, on another way than this:\n\n${lines.join('\n')}\n\nThey are the same for both of you, or somebody is between you.\nThen: /verify yes\n\n${fingerprint}\n${randomart(known.key).join('\n')}`,
    })
  }

  async #add(text: string, name: string | undefined): Promise<void> {
    const { people } = this.#options
    if (text.startsWith('asfaleia-group/')) {
      const { known } = await people.groups.take(await parseGroup(text), people.isTaken)
      this.#showPeople()
      return this.#put({ kind: 'open', conversation: GROUP + known.group.id })
    }
    const added = await people.book.add({ card: await parseCard(text) }, name)
    this.#showPeople()
    switch (added.kind) {
      case 'added':
        this.#put({ kind: 'open', conversation: fingerprintOf(added.contact.key) })
        return this.#tell(`${added.contact.name} is a contact now; /verify shows the words to compare`)
      case 'changed':
        return this.#tell(
          `${added.contact.name}: ${added.changes.map(({ what, before, after }) => `${what} ${before} → ${after}`).join('; ') || 'a newer card'}`,
        )
      case 'unchanged':
        return this.#tell(`${added.contact.name} is known by that card already`)
    }
  }

  // --- groups ---

  async #group(known: KnownGroup | undefined, words: readonly string[]): Promise<void> {
    if (known !== undefined && words[0] === 'leave') return this.#leave(known)
    const { group, told } = await drawUp(known, words, this.#options, Math.floor(this.#now() / 1_000))
    await this.#announce(group, told)
  }

  async #leave(known: KnownGroup): Promise<void> {
    const { people } = this.#options
    const { group } = known
    for (const contact of people.receivers(GROUP + group.id)) this.#dispatch(contact, { type: 'leave' }, group.id)
    await people.leave(known)
    this.#showPeople()
    this.#put({ kind: 'note', conversation: GROUP + group.id, text: 'you left' })
  }

  async #announce(group: Group, told: readonly Card[]): Promise<void> {
    const { people, identity } = this.#options
    const { change } = await people.groups.take(group, people.isTaken)
    this.#showPeople()
    const me = fingerprintOf(identity.key)
    for (const each of told) {
      const fingerprint = fingerprintOf(each.key)
      if (fingerprint === me) continue
      const contact = people.find(fingerprint) ?? people.book.contactOf(each)
      this.#dispatch(contact, { type: 'group', card: group.text }, group.id)
    }
    this.#put({ kind: 'open', conversation: GROUP + group.id })
    this.#put({
      kind: 'note',
      conversation: GROUP + group.id,
      text: change === undefined ? 'you made this group' : describeChange(change, people),
    })
  }

  // --- what comes ---

  async #receive(received: AsyncIterable<Received>): Promise<void> {
    for await (const each of received) await this.#onReceived(each)
  }

  async #onReceived(received: Received): Promise<void> {
    const described = await this.#describe(received)
    if ('note' in described) {
      this.#put({ kind: 'note', conversation: described.conversation, text: described.note })
      return this.#finish(received)
    }
    if (
      this.#options.history !== undefined &&
      described.conversation !== STRANGERS &&
      (await this.#keepArrival(described, this.#options.history))
    ) {
      await this.#finish(received)
      return this.#put({ kind: 'arrival', arrival: described })
    }
    const heldOfStrangers = [...this.#tickets.values()].filter(({ from }) => from === undefined).length
    if (described.conversation === STRANGERS && heldOfStrangers >= STRANGERS_HELD) {
      this.#put({ kind: 'arrival', arrival: described })
      return this.#finish(received)
    }
    const ticket = this.#nextTicket++
    this.#tickets.set(ticket, received)
    this.#put({ kind: 'arrival', arrival: { ...described, ticket } })
  }

  #done(ticket: number): void {
    const received = this.#tickets.get(ticket)
    this.#tickets.delete(ticket)
    if (received !== undefined) this.#try(() => this.#finish(received))
  }

  async #finish(received: Received): Promise<void> {
    try {
      await received.done()
    } catch (error) {
      this.#tell(describeError(error) ?? 'a message could not be confirmed; it will come again', true)
    }
  }

  /** As it is shown, and where. */
  async #describe(received: Received): Promise<Arrival | { conversation: string; note: string }> {
    const { verdict, envelope, from } = received
    const at = envelope === undefined ? this.#now() : envelope.time * 1_000
    const order = { ...(received.gap === true && { gap: true as const }), ...(received.late === true && { late: true as const }) }
    if (envelope === undefined) {
      const text = received.text === undefined ? '' : (decodeText(received.text) ?? '(bytes that are no text)')
      return { conversation: STRANGERS, author: 'nobody', at, verdict, text }
    }
    const fingerprint = fingerprintOf(envelope.from)
    const { content, id } = envelope
    const facts = { at, verdict, fingerprint, id, ...order }
    if (from === undefined || verdict === 'forged' || verdict === 'unverifiable' || verdict === 'readdressed') {
      const named = this.#options.people.find(fingerprint)
      const says =
        verdict === 'forged' || verdict === 'unverifiable'
          ? `says that it is from ${named === undefined ? fingerprint : `${named.name}, ${fingerprint}`}`
          : `from ${named === undefined ? fingerprint : `${named.name}, ${fingerprint}`}`
      const { text, card } = await describeContent(content)
      return {
        ...facts,
        conversation: STRANGERS,
        author: verdict === 'forged' ? 'forged' : verdict === 'unverifiable' ? 'unverifiable' : 'stranger',
        text: `${says}\n${text}`,
        ...(card !== undefined && verdict !== 'forged' && verdict !== 'unverifiable' && { card }),
      }
    }
    const group = envelope.group === undefined ? undefined : this.#options.people.groupOf(GROUP + envelope.group)
    const inGroup = group !== undefined && this.#options.people.isMember(group, fingerprint)
    const conversation = inGroup ? GROUP + group.group.id : fingerprint
    const author = from.name
    // One that may have come before (an old one), or is dated ahead, is shown as what it is, and changes nothing.
    const isChange = content.type === 'edit' || content.type === 'remove' || content.type === 'group' || content.type === 'leave'
    if (isChange && verdict !== 'genuine') return { ...facts, conversation, author, text: (await describeContent(content)).text }
    switch (content.type) {
      case 'text': {
        const foreign = envelope.group !== undefined && !inGroup ? '(to a group that you are not in) ' : ''
        return {
          ...facts,
          conversation,
          author,
          text: foreign + content.text,
          ...(content.replyTo !== undefined && { replyTo: content.replyTo }),
        }
      }
      case 'edit':
        return { ...facts, conversation, author, text: content.text, change: { of: content.of, to: 'edited' } }
      case 'remove':
        return { ...facts, conversation, author, text: '', change: { of: content.of, to: 'removed' } }
      case 'group': {
        const shown = await takeCard(content.card, fingerprint, this.#options)
        if ('isTaken' in shown) this.#showPeople()
        return 'note' in shown ? shown : { ...facts, author, ...shown }
      }
      case 'leave':
        if (!inGroup) return { ...facts, conversation, author, text: '(left a group that you are not in)' }
        await this.#options.people.groups.leave(group, fingerprint)
        this.#showPeople()
        return { conversation, note: `${author} left` }
      case 'receipt':
      case 'file':
      case 'have':
      case 'card':
      case 'unknown': {
        const { text, card } = await describeContent(content)
        return { ...facts, conversation, author, text, ...(card !== undefined && { card }) }
      }
    }
  }

  async #listen(events: AsyncIterable<MessengerEvent>): Promise<void> {
    for await (const event of events) this.#onEvent(event)
  }

  #onEvent(event: MessengerEvent): void {
    switch (event.kind) {
      case 'delivery': {
        const { id, state, error, to } = event.delivery
        const why = error === undefined ? undefined : describeError(error)
        // A change of a message, a card: what has no place of its own.
        if ((state === 'failed' || state === 'expired') && this.#sent.has(id) && !this.#isShownAs(id))
          this.#tell(`a change did not get to ${to.name}${why === undefined ? '' : `: ${why}`}`, true)
        this.#put({ kind: 'delivery', id, state, ...(why !== undefined && { why }) })
        if (this.#inHistory.has(id) && state !== 'waiting') this.#keep([{ kind: 'state', id, state, ...(why !== undefined && { why }) }])
        return
      }
      case 'relay': {
        if (event.purpose !== 'receive') return
        const why = event.error === undefined ? undefined : describeError(event.error)
        return this.#put({ kind: 'relay', relay: { relay: event.relay, state: event.state, ...(why !== undefined && { why }) } })
      }
      case 'taken-over':
        return this.#put({
          kind: 'relay',
          relay: { relay: event.relay, state: 'down', why: 'another program of yours reads this mailbox now' },
        })
      case 'forgotten':
        return this.#tell(`${event.relay} was restarted: what is unconfirmed goes again`)
      case 'moved':
        return this.#tell(`${event.relay} is moving to ${event.name}: put that into your profile if you trust it`, true)
      case 'not-kept':
        return this.#tell(`the outbox is not kept: ${describeError(event.error) ?? 'it could not be written'}`, true)
      case 'not-said':
        return this.#tell(`${event.to.name} was not told that a message came: your key does not sign just now`, true)
      case 'duplicate':
        return
      case 'file-sent':
        for (const [key, deliveries] of this.#files)
          if (deliveries.some(({ file }) => file === event.file.file)) this.#showFile(key, deliveries)
        return
      case 'file-received':
        return this.#onFile(event)
    }
  }

  #keepFile(conversation: string, { name, total }: { name: string; total: number }, mine: boolean, author = this.#options.name): void {
    const text = `(file "${name}", ${formatBytes(total)})`
    this.#keep([{ kind: 'message', message: { conversation, author, at: this.#now(), verdict: 'genuine', text, mine, deliveries: [] } }])
  }

  #isShownAs(id: string): boolean {
    return this.#state.conversations.some(({ entries }) => entries.some(({ deliveries }) => deliveries.some((each) => each.id === id)))
  }

  #onFile({ offer, state, bytes, error }: Extract<MessengerEvent, { kind: 'file-received' }>): void {
    const fingerprint = fingerprintOf(offer.from.key)
    const place = this.#options.places.get(offer.file)
    const facts = { name: offer.name, total: offer.total, moved: bytes }
    if (state === 'done' && place !== undefined) this.#keepFile(fingerprint, offer, false, offer.from.name)
    this.#put({
      kind: 'file',
      conversation: fingerprint,
      id: offer.file,
      author: offer.from.name,
      fingerprint,
      transfer:
        state === 'receiving'
          ? { ...facts, state: 'moving' }
          : state === 'done'
            ? { ...facts, state: 'done', note: place === undefined ? 'it came before' : `in ${place}` }
            : {
                ...facts,
                state: 'failed',
                note: ARRIVAL_FAILURES[state] + (error === undefined ? '' : `: ${describeError(error) ?? 'it cannot be written'}`),
              },
    })
  }

  // --- history ---

  async #recall(history: History): Promise<void> {
    try {
      const { kept, problems } = await history.read()
      this.#put({ kind: 'earlier', kept })
      for (const { deliveries } of kept) for (const { id } of deliveries) this.#inHistory.add(id)
      for (const problem of problems) this.#tell(problem, true)
    } catch (error) {
      const told = describeError(error)
      if (told === undefined) throw error
      this.#tell(told, true)
    }
  }

  #keep(happened: readonly Happened[]): void {
    const { history } = this.#options
    if (history !== undefined) this.#try(() => history.append(happened))
  }

  /** @returns whether it is on the disk */
  async #keepArrival(message: Arrival, history: History): Promise<boolean> {
    try {
      await history.append([{ kind: 'message', message: { ...message, mine: false, deliveries: [] } }])
      return true
    } catch (error) {
      this.#tell(describeError(error) ?? 'the history is not kept', true)
      return false
    }
  }
}
