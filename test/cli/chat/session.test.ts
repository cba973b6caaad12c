/**
 * A chat session between a messenger and a front end, both played by the test: what it sends, acknowledges,
 * keeps and shows.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SessionOptions } from '../../../src/cli/chat/context.ts'
import type { Front } from '../../../src/cli/chat/front.ts'
import { History } from '../../../src/cli/chat/history.ts'
import type { Input } from '../../../src/cli/chat/input.ts'
import { editorOf, type State } from '../../../src/cli/chat/state.ts'
import { Session } from '../../../src/cli/chat/session.ts'
import { plainText, view } from '../../../src/cli/chat/view.ts'
import { Channel } from '../../../src/client/messenger/channel.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { makeId } from '../../../src/client/format/field.ts'
import type { FileSource, FileState } from '../../../src/client/delivery/file.ts'
import { makeCard } from '../../../src/client/format/card.ts'
import { makeGroup, makeGroupId } from '../../../src/client/format/group.ts'
import { safetyWords } from '../../../src/client/format/safety.ts'
import type { Content } from '../../../src/client/format/content.ts'
import type { Envelope } from '../../../src/client/format/message.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { Delivery } from '../../../src/client/messenger/delivery.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import type { FileDelivery } from '../../../src/client/messenger/transfers.ts'
import { createVillage, type Person, type Village } from '../../support/village.ts'

const FILE_PART = { file: makeId(), name: 'f', total: 0, hash: '0'.repeat(64), part: 0, bytes: new Uint8Array() }
const NOON = new Date(2026, 10, 26, 12).getTime()

type Sent = { -readonly [key in keyof Delivery]: Delivery[key] } & {
  readonly group: string | undefined
  readonly expires: number | undefined
  accept(): void
}

type SentFile = { -readonly [key in keyof FileDelivery]: FileDelivery[key] } & {
  readonly source: FileSource
  change(state: FileState, confirmed: number): void
}

class FakeMessenger {
  readonly sent: Sent[] = []
  /** Deliveries of a former run. */
  readonly before: Delivery[] = []
  readonly files: SentFile[] = []
  readonly reads: (readonly [name: string, ids: readonly string[]])[] = []
  readonly incoming = new Channel<Received>()
  readonly happening = new Channel<MessengerEvent>()
  readonly ready = Promise.resolve()
  readonly connected: string[] = []

  receiveFrom(relay: string): void {
    this.connected.push(relay)
  }

  send(to: Contact, content: Content, { group, expires }: { group?: string; expires?: number } = {}): Delivery {
    const accepted = Promise.withResolvers<Delivery['state']>()
    const delivery: Sent = {
      id: makeId(),
      to,
      content,
      state: 'waiting',
      relay: undefined,
      error: undefined,
      held: false,
      protection: undefined,
      relays: to.relays,
      group,
      expires,
      accepted: accepted.promise,
      settled: accepted.promise,
      accept: () => {
        delivery.state = 'held'
        accepted.resolve('held')
        this.happening.push({ kind: 'delivery', delivery })
      },
    }
    this.sent.push(delivery)
    return delivery
  }

  async sendFile(to: Contact, source: FileSource): Promise<FileDelivery> {
    const settled = Promise.withResolvers<FileState>()
    const file: SentFile = {
      file: makeId(),
      to,
      name: source.name,
      total: source.size,
      confirmed: 0,
      state: 'offered',
      error: undefined,
      settled: settled.promise,
      source,
      change: (state, confirmed) => {
        Object.assign(file, { state, confirmed })
        if (state !== 'sending') settled.resolve(state)
        this.happening.push({ kind: 'file-sent', file })
      },
    }
    this.files.push(file)
    return file
  }

  received(): AsyncIterable<Received> {
    return this.incoming
  }

  events(): AsyncIterable<MessengerEvent> {
    return this.happening
  }

  read(from: Contact, ids: readonly string[]): void {
    this.reads.push([from.name, ids])
  }

  /** The contacts whose new keys the user accepted, and whether there were any. */
  readonly accepted: string[] = []
  isDoubted = true

  async accept(from: Contact): Promise<boolean> {
    this.accepted.push(from.name)
    return this.isDoubted
  }

  deliveries(): Delivery[] {
    return this.before
  }

  flush(): Promise<void> {
    return Promise.resolve()
  }
}

class FakeFront implements Front {
  state: State | undefined
  notified = 0
  stopped = false
  #onInput: (input: Input) => void = () => {}
  #onEnd: () => void = () => {}

  start({ onInput, onEnd }: Parameters<Front['start']>[0]): void {
    this.#onInput = onInput
    this.#onEnd = onEnd
    onInput({ kind: 'resize', size: { rows: 16, columns: 160 } })
  }

  show(state: State): void {
    this.state = state
  }

  stop(): void {
    this.stopped = true
  }

  notify(): void {
    this.notified++
  }

  alone(): void {}

  redraw(): void {}

  suspend(): void {}

  put(input: Input): void {
    this.#onInput(input)
  }

  type(line: string): void {
    this.put({ kind: 'line', text: line })
  }

  end(): void {
    this.#onEnd()
  }

  look(): string {
    return plainText(view(this.state!))
  }

  /** Reports that the terminal has drawn everything visible. */
  draw(): string {
    const frame = view(this.state!)
    this.put({ kind: 'drawn', keys: frame.drawn })
    return plainText(frame)
  }
}

let village: Village
let [alice, bob, carol]: Person[] = []
let messenger: FakeMessenger
let front: FakeFront
let stop: AbortController
let running: Promise<boolean> | undefined

beforeEach(async () => {
  village = createVillage()
  bob = await village.add('bob')
  carol = await village.add('carol')
  alice = await village.add('alice', [bob, carol])
  messenger = new FakeMessenger()
  front = new FakeFront()
  stop = new AbortController()
})

afterEach(async () => {
  stop.abort()
  await running
  running = undefined
  village.remove()
})

function begin(options: Partial<SessionOptions> = {}, who: Person = alice!): Session {
  const session = new Session({
    messenger,
    people: who.people,
    identity: who.identity,
    name: who.name,
    card: who.card,
    front,
    relays: ['localhost'],
    places: new Map(),
    look: { ascii: false },
    receipts: false,
    notify: false,
    patient: false,
    now: () => NOON,
    ...options,
  })
  running = session.run(undefined, stop.signal)
  return session
}

/** Runs turns of the event loop until the condition holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

it('a wrong clock of this machine is named', async () => {
  begin()
  messenger.happening.push({ kind: 'clock', off: 'behind', by: 90_000 })
  await until(
    () => front.state?.told?.text.startsWith('the messages of several contacts are dated 1 day in the future; check the clock') === true,
  )
  expect(front.state?.told?.role).toBe('bad')
})

it('shows what happened to the keys of a contact in the conversation, and elsewhere in one line', async () => {
  begin()
  front.put({ kind: 'open', conversation: bob!.fingerprint })
  const contact = (who: Person): Contact => ({ name: who.name, key: who.identity.key, relays: ['localhost'] })
  const notes = (who: Person): string[] =>
    front
      .state!.conversations.find(({ id }) => id === who.fingerprint)!
      .entries.flatMap(({ from, text }) => (from === 'note' ? [text] : []))
  for (let n = 0; n < 2; n++) messenger.happening.push({ kind: 'ring', event: 'unproven', contact: contact(bob!) })
  await until(() => notes(bob!).length > 0)
  await turn()
  expect(notes(bob!)).toEqual([
    'a message says that bob lost all keys, without a proof: another person may have the SSH key of bob; ' +
      'ask bob on a call; only if it is true: /accept in the conversation',
  ])
  expect(front.state?.told?.text ?? '').not.toContain('bob')
  front.type('/accept')
  await until(() => front.state?.told?.text === 'you accepted the new keys of bob')
  messenger.isDoubted = false
  front.type('/accept')
  await until(() => front.state?.told?.text.startsWith('there is nothing to accept') === true)
  expect(messenger.accepted).toEqual(['bob', 'bob'])
  messenger.happening.push({ kind: 'ring', event: 'anew', contact: contact(carol!) })
  await until(() => front.state?.told?.text.startsWith('carol lost their one-time keys') === true)
  expect(notes(carol!)).toHaveLength(1)
  messenger.happening.push({ kind: 'other-bundle', relay: 'localhost' })
  await until(() => front.state?.told?.text.startsWith('another program has your inbox key') === true)
  expect(front.state?.told?.role).toBe('bad')
})

it('forgets texts and files once they have arrived', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const path = join(village.folder, 'file')
  writeFileSync(path, 'bytes')
  begin()
  front.put({ kind: 'open', conversation: bob!.fingerprint })
  front.type('hello')
  front.type(`/file ${path}`)
  await until(() => messenger.files.length === 1)
  const refs = ((): WeakRef<object>[] => {
    const [sent, file] = [messenger.sent.pop()!, messenger.files.pop()!]
    sent.accept()
    messenger.happening.push({ kind: 'delivery', delivery: { ...sent, state: 'delivered' } })
    file.change('done', 5)
    return [new WeakRef(sent), new WeakRef(file)]
  })()
  await until(() => front.look().includes('arrived, and its hash is right') && front.look().includes('delivered'))
  // The session holds the last event until the next one, and the file until it is closed.
  messenger.happening.push({ kind: 'relay', relay: 'localhost', purpose: 'receive', state: 'up' })
  const held = (): number => {
    collect()
    return refs.filter((ref) => ref.deref() !== undefined).length
  }
  await expect.poll(held, { timeout: 10_000 }).toBe(0)
})

describe('a full mailbox', () => {
  const fill = (sent: Sent): void => {
    messenger.happening.push({ kind: 'delivery', delivery: { ...sent, relay: 'localhost', error: new RelayError('mailbox-full') } })
  }

  it('is named once, with how many messages wait, and again when the input ends', async () => {
    begin({ patient: true })
    front.put({ kind: 'open', conversation: bob!.fingerprint })
    for (let n = 0; n < 15; n++) front.type(`line ${n}`)
    fill(messenger.sent[0]!)
    await until(() => front.state?.told?.text === "bob's mailbox is full; 15 messages wait")
    front.type('one more')
    fill(messenger.sent[1]!)
    await turn()
    expect(front.state?.told?.text).toBe("bob's mailbox is full; 15 messages wait")
    front.end()
    await until(() => front.state?.told?.text === "bob's mailbox is full; 16 messages wait")
    for (const each of messenger.sent) each.accept()
    expect(await running).toBe(true)
  })

  it('at one of several relays is not the end', async () => {
    begin()
    front.put({ kind: 'open', conversation: bob!.fingerprint })
    front.type('hello')
    const [sent] = messenger.sent
    fill({ ...sent!, relays: ['localhost', 'elsewhere'] })
    await turn()
    await turn()
    expect(front.state?.told?.text ?? '').not.toContain('full')
  })
})

function arrives(
  from: Person | undefined,
  content: Content | undefined,
  more: Omit<Partial<Received>, 'envelope'> & { envelope?: Partial<Envelope>; stranger?: boolean } = {},
): { id: string; done: () => number } {
  let done = 0
  const id = makeId()
  const { envelope, stranger, ...rest } = more
  const whole =
    from === undefined || content === undefined
      ? undefined
      : { id, from: from.identity.key, to: alice!.fingerprint, time: NOON / 1_000, content, ...envelope }
  const contact = from === undefined || stranger === true ? undefined : alice!.people.find(from.fingerprint)
  messenger.incoming.push({
    verdict: 'genuine',
    relay: 'localhost',
    ...(whole !== undefined && { envelope: whole }),
    ...(contact !== undefined && rest.verdict !== 'forged' && { from: contact }),
    ...rest,
    async done() {
      done++
    },
  } as Received)
  return { id, done: () => done }
}

/** Runs turns of the event loop until the screen shows the text, at most ten seconds. */
async function shows(words: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(front.state !== undefined && front.look().includes(words)) && performance.now() < deadline) await turn()
  expect(front.look()).toContain(words)
}

const text = (words: string): Content => ({ type: 'text', text: words })

describe('a message that disappears', () => {
  it('is never in the history, whether the user received or wrote it', async () => {
    const folder = join(village.folder, 'short')
    const history = new History(folder, alice!.identity, 'one')
    begin({ history })
    arrives(bob, text('the code is 4711'), { envelope: { expires: 60 } })
    arrives(bob, text('the kettle is on'))
    await shows('the kettle is on')
    front.type('/expires 1h')
    await until(() => front.state?.conversations.find(({ id }) => id === bob!.fingerprint)?.expires === 3_600)
    front.type('the code is 4712')
    front.type('/expires off')
    await until(() => front.state?.conversations.find(({ id }) => id === bob!.fingerprint)?.expires === undefined)
    front.type('tea?')
    await until(() => messenger.sent.length === 2)
    expect(messenger.sent.map(({ expires }) => expires)).toEqual([3_600, undefined])
    await history.idle()
    const { kept } = await history.read()
    expect(kept.map((each) => each.text)).toEqual(['the kettle is on', 'tea?'])
    const { found } = await history.search()
    expect(found.map((each) => each.text)).toEqual(['the kettle is on', 'tea?'])
  })

  it('disappears by the clock of the machine', async () => {
    let seconds = 1_000
    begin({ seconds: () => seconds })
    arrives(bob, text('the code is 4711'), { envelope: { expires: 5 } })
    await shows('4711')
    front.draw()
    const gone = (): boolean => !front.look().includes('4711')
    const later = setInterval(() => (seconds += 5), 100)
    while (!gone()) await new Promise((resolve) => setTimeout(resolve, 50))
    clearInterval(later)
    expect(front.look()).not.toContain('4711')
  })
})

describe('/find', () => {
  it('shows the messages of all sessions that contain the words, as their authors left them', async () => {
    const folder = join(village.folder, 'kept')
    const first = new History(folder, alice!.identity, '1')
    const message = (id: string, words: string, change?: { of: string; to: 'edited' | 'removed' }): Parameters<History['append']>[0] => [
      {
        kind: 'message',
        message: {
          conversation: bob!.fingerprint,
          author: 'bob',
          fingerprint: bob!.fingerprint,
          at: NOON - 86_400_000,
          verdict: 'genuine',
          text: words,
          id,
          mine: false,
          deliveries: [],
          ...(change !== undefined && { change }),
        },
      },
    ]
    await first.append(message('a', 'The Kettle is old'))
    await first.append(message('b', 'the kettle is new'))
    await first.append(message('c', 'a kettle, removed'))
    await first.append(message('d', 'nothing'))
    const history = new History(folder, alice!.identity, '2')
    await history.append(message('e', 'the kettle is on', { of: 'b', to: 'edited' }))
    await history.append(message('f', '', { of: 'c', to: 'removed' }))
    begin({ history })
    await until(() => front.state !== undefined)
    front.type('/find kettle THE')
    await until(() => front.state?.overlay !== undefined)
    expect(front.state?.overlay?.title).toBe('2 messages with kettle THE')
    expect(front.state?.overlay?.text.split('\n').map((line) => line.replace(/^\S+ \S+ +/, ''))).toEqual([
      'bob: bob: The Kettle is old',
      'bob: bob: the kettle is on',
    ])
    front.put({ kind: 'key', chord: 'escape' })
    front.type('/find teapot')
    await until(() => front.state?.told?.text === '0 messages with teapot')
  })
})

describe('an incoming message', () => {
  it('is acknowledged once it was drawn, and not before', async () => {
    begin()
    const message = arrives(bob, text('the kettle is on'))
    await shows('the kettle is on')
    expect(message.done()).toBe(0)
    front.draw()
    await until(() => message.done() > 0)
    front.draw()
    await turn()
    expect(message.done()).toBe(1)
  })

  it('waits for its acknowledgement until its conversation is opened', async () => {
    begin({ notify: true })
    const message = arrives(carol, text('are you there?'))
    await until(() => front.notified === 1)
    front.draw()
    await turn()
    expect(message.done()).toBe(0)
    front.type('/to carol')
    expect(front.draw()).toContain('are you there?')
    await until(() => message.done() === 1)
  })

  it('of a stranger is acknowledged unseen if there are too many', async () => {
    begin()
    const messages = Array.from({ length: 20 }, (_, index) =>
      arrives(undefined, undefined, { verdict: 'unsigned', text: Buffer.from(`junk ${index}`) }),
    )
    await until(() => messages.filter((each) => each.done() === 1).length === 4)
    expect(messages.slice(0, 16).every((each) => each.done() === 0)).toBe(true)
  })

  it('gets a read receipt only with receipts on', async () => {
    begin({ receipts: true })
    const { id } = arrives(bob, text('read me'))
    await shows('read me')
    expect(messenger.reads).toEqual([])
    front.draw()
    expect(messenger.reads).toEqual([['bob', [id]]])
  })

  it('that is forged appears under strangers with the contact that it names', async () => {
    begin()
    arrives(bob, text('send money'), { verdict: 'forged' })
    await until(() => front.state?.conversations.length === 3)
    expect(front.look()).not.toContain('send money')
    front.type('/to strangers')
    const screen = front.draw()
    expect(screen).toContain(`claims to be from bob, ${bob!.fingerprint}`)
    expect(screen).toContain('! forged')
    expect(screen).toContain('send money')
  })

  it('of an unknown type is shown as such', async () => {
    begin()
    arrives(bob, { type: 'unknown', name: 'dance', body: Buffer.from('x') })
    await shows('a message of a type that this version does not know')
    expect(front.look()).toContain('dance')
  })

  it('with a card adds the contact only on /add', async () => {
    const dave = await village.add('dave')
    begin()
    arrives(bob, { type: 'card', card: dave.card.text })
    await shows('the card of "dave"')
    expect(alice!.people.book.get('dave')).toBeUndefined()
    front.type('/add')
    await shows('dave is now a contact')
    front.type('/to bob')
    front.type('/add')
    await shows('there is no card to add here')
    arrives(bob, { type: 'card', card: dave.card.text })
    await shows('you have it already')
    expect(alice!.people.book.get('dave')?.card?.text).toBe(dave.card.text)
  })

  it('with a newer card of a contact updates it, and says what changed', async () => {
    begin()
    const facts = { name: 'bob', relays: ['localhost:4000'], time: Math.floor(Date.now() / 1_000) + 60 }
    const { text: card } = await makeCard(bob!.identity, facts)
    arrives(bob, { type: 'card', card })
    await shows('the card of "bob"')
    front.type('/add')
    await until(() => front.state?.told?.text.startsWith('updated bob: ') === true)
    expect(front.state?.told?.text).toContain('localhost → localhost:4000')
    front.type(`/add ${alice!.card.link}`)
    await until(() => front.state?.told?.text === 'this is your own card')
    front.type(`/add ${carol!.card.link}`)
    await until(() => front.state?.told?.text === 'you already have this card of carol')
  })

  it('of a stranger appears under a short name', async () => {
    const mallory = await village.add('mallory')
    begin()
    arrives(mallory, text('hello'), { stranger: true })
    await until(() => front.state?.conversations.length === 3)
    front.type('/to strangers')
    expect(front.draw()).toContain(`stranger ${mallory.fingerprint.slice(7, 12)}  hello`)
  })

  it('with a card of a known name but another key is refused', async () => {
    const impostor = await village.add('bob')
    begin()
    arrives(impostor, { type: 'card', card: impostor.card.text }, { stranger: true })
    await until(() => front.state?.conversations.length === 3)
    front.type('/to strangers')
    front.type('/add')
    await shows('your contact "bob" has another key')
    expect(alice!.people.book.list()).toHaveLength(2)
  })
})

describe('an outgoing message', () => {
  it('goes to the contact and shows its states', async () => {
    begin()
    front.type('hello')
    const [delivery] = messenger.sent
    expect(delivery).toMatchObject({ to: { name: 'bob' }, content: { type: 'text', text: 'hello' }, group: undefined })
    expect(front.look()).toContain('waiting')
    for (const [state, shown] of [
      ['held', 'held'],
      ['delivered', 'delivered'],
      ['read', 'read'],
    ] as const) {
      delivery!.state = state
      messenger.happening.push({ kind: 'delivery', delivery: delivery! })
      await shows(shown)
    }
  })

  it('that fails shows the reason', async () => {
    begin()
    front.type('hello')
    const [delivery] = messenger.sent
    Object.assign(delivery!, { state: 'failed', error: new RelayError('denied') })
    messenger.happening.push({ kind: 'delivery', delivery: delivery! })
    await shows('failed: the relay does not admit that key')
    expect(front.state?.conversations[0]?.entries[0]?.deliveries).toMatchObject([{ state: 'failed' }])
  })

  it('can be a reply, an edit or a removal, with the ids that the receiver knows', async () => {
    begin()
    const { id } = arrives(bob, text('tea?'))
    await shows('tea?')
    front.type('/reply yes')
    front.type('/edit yes!')
    front.type('/remove')
    const [reply, ...changes] = messenger.sent
    expect(reply!.content).toEqual({ type: 'text', text: 'yes', replyTo: id })
    expect(changes.map(({ content }) => content)).toEqual([
      { type: 'edit', of: reply!.id, text: 'yes!' },
      { type: 'remove', of: reply!.id },
    ])
  })
})

describe('the status line', () => {
  it('reports a change that failed, and messages left by a former run', async () => {
    messenger.before.push(messenger.send(alice!.people.find(bob!.fingerprint)!, text('from before')))
    begin()
    await shows('1 of your earlier messages is still on the way')
    front.type('tee')
    front.type('/edit tea')
    const change = messenger.sent.at(-1)!
    Object.assign(change, { state: 'failed', error: new RelayError('denied') })
    messenger.happening.push({ kind: 'delivery', delivery: change })
    await shows('a change did not reach bob: the relay does not admit that key')
    expect(front.look()).toContain('tea (edited)')
  })
})

describe('a name', () => {
  it('that could imitate a line is in quotes, and one that looks like another is marked', async () => {
    const mallory = await village.add('mallory')
    const eve = await village.add('eve')
    writeFileSync(join(alice!.folder, 'contacts', 'b\u{43e}b'), mallory.card.text)
    writeFileSync(join(alice!.folder, 'contacts', 'bob: hi'), eve.card.text)
    await alice!.people.book.refresh()
    begin()
    arrives(mallory, text('from mallory'), { from: alice!.people.find(mallory.fingerprint)! })
    arrives(eve, text('from eve'), { from: alice!.people.find(eve.fingerprint)! })
    front.type('/to b\u{43e}b')
    await shows('?b\u{43e}b  from mallory')
    expect(front.look()).toContain('?b\u{43e}b (looks like another contact)')
    expect(front.look()).toContain('?bob')
    expect(front.look()).toContain(String.raw`"bob\u{3a} hi"`)
    expect(front.look()).not.toContain('bob: hi')
  })
})

describe('a group', () => {
  it('can be made, written to, changed and left', async () => {
    begin()
    front.type('/group new "tea time" bob carol')
    await shows('you made this group')
    const [group] = alice!.people.groups.list()
    expect(messenger.sent.map(({ to, content, group }) => [to.name, content?.type, group])).toEqual([
      ['bob', 'group', group!.group.id],
      ['carol', 'group', group!.group.id],
    ])
    messenger.sent.length = 0
    front.type('tea?')
    expect(messenger.sent.map(({ to, content, group }) => [to.name, content, group])).toEqual([
      ['bob', text('tea?'), group!.group.id],
      ['carol', text('tea?'), group!.group.id],
    ])
    // Bob wrote the original, so he gets its id. Carol knows it under another id, so she gets a quotation.
    const { id } = arrives(bob, text('yes'), { envelope: { group: group!.group.id } })
    await until(() => / bob +yes/.test(front.look()))
    messenger.sent.length = 0
    front.type('/reply good')
    expect(messenger.sent.map(({ content }) => content)).toEqual([{ type: 'text', text: 'good', replyTo: id }, text('> bob: yes\ngood')])
    // An old leave may be a replay: a relay that kept it can deliver it again after carol came back.
    arrives(carol, { type: 'leave' }, { verdict: 'stale', envelope: { group: group!.group.id } })
    await shows('(leaves a group)')
    arrives(bob, { type: 'edit', of: id, text: 'no' }, { verdict: 'stale', envelope: { group: group!.group.id } })
    await shows('(edits a message) no')
    expect(front.look()).not.toContain('carol left')
    expect(front.look()).not.toContain('no (edited)')
    arrives(carol, { type: 'leave' }, { envelope: { group: group!.group.id } })
    await shows('carol left')
    messenger.sent.length = 0
    front.type('only us')
    expect(messenger.sent.map(({ to }) => to.name)).toEqual(['bob'])
    front.type('/group drop carol')
    await shows('removed: carol')
    expect(alice!.people.groups.list()[0]!.group).toMatchObject({ version: 2, members: [{ name: 'alice' }, { name: 'bob' }] })
    front.type('/group leave')
    await shows('you left')
    messenger.sent.length = 0
    front.type('hello?')
    expect(messenger.sent).toEqual([])
    expect(front.look()).toContain('you left this group')
  })

  it('that cannot be stored stays at the relay, and the chat goes on', async () => {
    const facts = { id: makeId(), name: 'tea', version: 1, time: NOON / 1_000, members: [bob!.card, alice!.card] }
    const group = await makeGroup(bob!.identity, facts)
    writeFileSync(join(alice!.folder, 'groups'), 'a file in place of the folder')
    begin()
    const message = arrives(bob, { type: 'group', card: group.text }, { envelope: { group: group.id } })
    await shows('cannot create the folder')
    arrives(bob, text('are you there?'))
    await shows('are you there?')
    expect(message.done()).toBe(0)
  })

  it('of a contact is joined at once, and only its maker can change it', async () => {
    const dave = await village.add('dave')
    const facts = { id: makeId(), name: 'tea', version: 1, time: NOON / 1_000, members: [bob!.card, alice!.card, dave.card] }
    const group = await makeGroup(bob!.identity, facts)
    begin()
    arrives(bob, { type: 'group', card: group.text }, { envelope: { group: group.id } })
    await shows('you are in tea; /group leave leaves it')
    expect(alice!.people.groups.list()).toHaveLength(1)
    front.type('/to tea')
    await shows('tea: bob, you, ~dave')
    await shows('-- you are in tea; /group leave leaves it')
    // A member who is not a contact is shown with a mark.
    arrives(dave, text('hello all'), { from: alice!.people.find(dave.fingerprint)!, envelope: { group: group.id } })
    await shows('~dave  hello all')
    // But no file of such a member is accepted.
    expect([bob!, dave].map(({ fingerprint }) => alice!.people.isContact(fingerprint))).toEqual([true, false])
    const forged = await makeGroup(dave.identity, { ...facts, version: 2, members: [dave.card, alice!.card] })
    arrives(dave, { type: 'group', card: forged.text }, { from: alice!.people.find(dave.fingerprint)!, envelope: { group: group.id } })
    const next = await makeGroup(bob!.identity, { ...facts, version: 2, members: [bob!.card, alice!.card, carol!.card] })
    arrives(bob, { type: 'group', card: next.text }, { envelope: { group: group.id } })
    await shows('joined: carol; removed: ~dave')
    expect(alice!.people.groups.list()[0]!.group.text).toBe(next.text)
    // Dave has not fetched the new list, and bob's old message names the group rightly.
    arrives(dave, text('still here'), { envelope: { group: group.id } })
    await shows('strangers             2')
    front.type('/to strangers')
    await shows('(not in the group tea) still here')
    arrives(bob, text('and I'), { envelope: { group: group.id } })
    front.type('/to tea')
    await shows('and I')
  })

  it('that names the group of another list is not one of its messages', async () => {
    const facts = { id: makeGroupId(bob!.identity.key), name: 'tea', version: 1, time: NOON / 1_000, members: [bob!.card, alice!.card] }
    const group = await makeGroup(bob!.identity, facts)
    await alice!.people.groups.take(group, () => false)
    begin()
    // Carol is a contact who heard of the id.
    arrives(carol, text('hello all'), { envelope: { group: group.id } })
    arrives(carol, { type: 'leave' }, { envelope: { group: group.id } })
    arrives(carol, { type: 'file', ...FILE_PART }, { envelope: { group: makeId() } })
    front.type('/to carol')
    await shows('(not in the group tea) hello all')
    await shows('(not in the group tea) (left the group)')
    await shows('(to a group that you are not in) (a part of the file "f")')
    expect(alice!.people.groups.list()[0]!.left).toEqual([])
  })
})

describe('a file', () => {
  it('is read while it is sent, and shows its progress', async () => {
    writeFileSync(join(alice!.folder, 'recipe.txt'), 'butter and flour')
    begin()
    front.type(`/file ${join(alice!.folder, 'recipe.txt')}`)
    await shows('file "recipe.txt", 16 bytes')
    const [file] = messenger.files
    expect(file).toMatchObject({ to: { name: 'bob' }, name: 'recipe.txt', total: 16 })
    expect(Buffer.from(await file!.source.read(7, 9)).toString()).toBe('and flour')
    file!.change('sending', 8)
    await shows(']  50%')
    file!.change('done', 16)
    await shows('arrived, and its hash is right')
  })

  it('that is refused or missing is reported', async () => {
    writeFileSync(join(alice!.folder, 'x'), 'x')
    begin()
    front.type(`/file ${join(alice!.folder, 'x')}`)
    await until(() => messenger.files.length === 1)
    messenger.files[0]!.change('refused', 0)
    await shows('bob refused it')
    front.type('/file /nowhere/y')
    await shows('no such file or folder')
    stop.abort()
    expect(await running).toBe(false)
  })

  it('that arrives shows its progress and its place', async () => {
    const places = new Map<string, string>()
    begin({ places })
    const offer = { file: makeId(), name: 'map.png', total: 40_000, hash: '', from: alice!.people.find(bob!.fingerprint)! }
    messenger.happening.push({ kind: 'file-received', offer, state: 'receiving', bytes: 10_000 })
    await shows('a file "map.png", 40.0 kB')
    expect(front.look()).toContain(' 25%')
    places.set(offer.file, '/folder/map.png')
    messenger.happening.push({ kind: 'file-received', offer, state: 'done', bytes: 40_000 })
    await shows('in /folder/map.png')
    messenger.happening.push({ kind: 'file-received', offer: { ...offer, file: makeId() }, state: 'refused', bytes: 0 })
    await shows('refused: to receive files, use --files FOLDER')
  })
})

it('path completion offers no name with control or format characters', async () => {
  begin()
  const folder = join(alice!.folder, 'paths')
  mkdirSync(folder)
  for (const name of ['note', 'no\u{1b}[2J', 'no\u{202e}gnp', 'no\n']) writeFileSync(join(folder, name), '')
  front.put({ kind: 'text', text: `/file ${folder}/no` })
  front.put({ kind: 'key', chord: 'tab' })
  await until(() => editorOf(front.state!).text.join('') === `/file ${folder}/note `)
  expect(front.draw()).not.toContain('\u{1b}')
})

describe('a history', () => {
  const open = (): History => new History(join(alice!.folder, 'history'), alice!.identity, `2026-11-26-${makeId()}`)

  it('keeps messages, and acknowledges the kept ones', async () => {
    begin({ history: open() })
    const message = arrives(carol, text('keep this'))
    await until(() => message.done() === 1)
    front.type('and this')
    const [delivery] = messenger.sent
    delivery!.accept()
    await shows('held')
    front.type('/edit and that')
    messenger.sent.at(-1)!.accept()
    front.type('/quit')
    expect(await running).toBe(true)
    const stored = readdirSync(join(alice!.folder, 'history'))
      .map((name) => readFileSync(join(alice!.folder, 'history', name), 'latin1'))
      .join('')
    expect(stored).not.toMatch(/keep|this|carol|text/)

    ;[messenger, front] = [new FakeMessenger(), new FakeFront()]
    begin({ history: open() })
    await shows('and that')
    expect(front.draw()).toMatch(/you {2}and that \(edited\) +held/)
    front.type('/to carol')
    expect(front.draw()).toContain('keep this')
  })

  it('that cannot be written acknowledges no message, and is reported', async () => {
    writeFileSync(join(alice!.folder, 'history'), 'a file where the folder would be')
    begin({ history: open() })
    const message = arrives(bob, text('the kettle'))
    await shows('the kettle')
    expect(message.done()).toBe(0)
    expect(front.look()).toMatch(/the history is not kept|cannot (?:read|create)/)
    front.draw()
    await until(() => message.done() === 1)
  })

  it('does not keep messages of strangers', async () => {
    begin({ history: open() })
    arrives(carol, text('junk'), { stranger: true })
    await until(() => front.state?.conversations.length === 3)
    expect(() => readdirSync(join(alice!.folder, 'history'))).toThrow('ENOENT')
  })

  it('that is damaged is reported and left untouched', async () => {
    const folder = join(alice!.folder, 'history')
    const other = { conversation: 'x', author: 'x', at: NOON, verdict: 'genuine', text: 'x', mine: true }
    const history = open()
    await history.append([{ kind: 'message', message: { ...other, deliveries: [null] } as never }])
    await history.append([
      {
        kind: 'message',
        message: {
          conversation: bob!.fingerprint,
          author: 'bob',
          at: NOON,
          verdict: 'genuine',
          text: 'whole',
          mine: false,
          deliveries: [],
        },
      },
    ])
    const [name] = readdirSync(folder)
    writeFileSync(join(folder, name!), `${readFileSync(join(folder, name!), 'latin1')}bm90IGFnZQ==\nYWdlLWVuY3J5`)
    const before = readFileSync(join(folder, name!))
    begin({ history: open() })
    await shows('whole')
    expect(front.look()).toContain('3 damaged lines')
    expect(readFileSync(join(folder, name!))).toEqual(before)
  })
})

describe('the relay status', () => {
  it('shows why a relay is not reached, and that it is moving', async () => {
    begin()
    messenger.happening.push({ kind: 'relay', relay: 'localhost', purpose: 'receive', state: 'down', error: new RelayError('proxy-down') })
    await shows('not connected')
    expect(front.look()).toContain('nothing listens at the SOCKS port')
    messenger.happening.push({ kind: 'relay', relay: 'localhost', purpose: 'receive', state: 'up' })
    await until(() => / connected/.test(front.look()))
    messenger.happening.push({ kind: 'moved', relay: 'localhost', name: 'x.onion' })
    await shows('localhost is moving to x.onion')
  })
})

describe('the end of a chat', () => {
  it('comes with the signal, and restores the terminal', async () => {
    begin()
    stop.abort()
    expect(await running).toBe(true)
    expect(front.stopped).toBe(true)
  })

  it('waits for a relay to accept all messages of a pipe', async () => {
    begin({ patient: true })
    front.type('by pipe')
    front.end()
    await turn()
    expect(front.stopped).toBe(false)
    messenger.sent[0]!.accept()
    expect(await running).toBe(true)
  })

  it('returns false if a message is at no relay', async () => {
    begin()
    front.type('never sent')
    stop.abort()
    expect(await running).toBe(false)
  })
})

describe('the own card', () => {
  it('is shown to give it to others', async () => {
    begin()
    front.type('/card')
    await shows('your card: give it to people who should write to you')
    expect(front.look().replaceAll(/\s/g, '')).toContain(alice!.card.link.slice(0, 100))
  })

  it('can be made if there is none yet', async () => {
    const { card: _, ...rest } = alice!
    begin({}, rest as Person)
    front.type('/card')
    await shows('you have no card yet; make one with `asfaleia me`')
    expect(front.state?.told?.role).toBe('bad')
  })
})

describe('safety words', () => {
  it('are shown and can be confirmed', async () => {
    begin()
    front.type('/verify')
    await shows('is this bob?')
    expect(front.look()).toContain('+--[ED25519 256]--+')
    const words = await safetyWords(alice!.identity.key, bob!.identity.key)
    const rows = front
      .look()
      .split('\n')
      .map((row) => row.trim())
    for (const start of [0, 4, 8]) expect(rows).toContain(words.slice(start, start + 4).join('  '))
    front.put({ kind: 'key', chord: 'escape' })
    front.type('/verify yes')
    await shows('bob (verified)')
    expect(alice!.people.book.get('bob')?.verified).toBeDefined()
  })
})

describe('beside other commands', () => {
  it('gives away a message of another conversation, which is then not new, and keeps those of the open one', async () => {
    let held = 0
    const session = begin({ onHeld: () => void held++ })
    await until(() => front.state?.open !== undefined)
    front.type('/to bob')
    const handed: Received[] = []
    const push = messenger.incoming.push.bind(messenger.incoming)
    messenger.incoming.push = (received) => {
      handed.push(received)
      push(received)
    }
    const other = arrives(carol, { type: 'text', text: 'of carol' })
    const open = arrives(bob, { type: 'text', text: 'of bob' })
    await until(() => held === 2)
    expect(front.look()).toContain('1 new')
    expect(handed.map((received) => session.releases(received))).toEqual([true, false])
    expect(front.look()).not.toContain('1 new')
    expect(session.releases(handed[0]!)).toBe(false)
    front.type('/to carol')
    expect(front.draw()).toContain('of carol')
    front.type('/to bob')
    front.draw()
    await until(() => open.done() === 1)
    expect(other.done()).toBe(0)
  })

  it('offers /connect if another client has taken over the mailbox', async () => {
    begin()
    await until(() => front.state?.open !== undefined)
    messenger.happening.push({ kind: 'taken-over', relay: 'localhost' })
    await until(() => front.look().includes('/connect takes it back'))
    front.type('/connect')
    expect(messenger.connected).toEqual(['localhost'])
  })
})

describe('the first screen', () => {
  it('adds a pasted card, and gives back a command that fails', async () => {
    const dave = await village.add('dave')
    const eve = await village.add('eve')
    begin({}, eve)
    await shows('You have no contacts yet')
    front.put({ kind: 'text', text: '/add asfaleia:card/2:name=Dave' })
    front.put({ kind: 'key', chord: 'enter' })
    await shows('the card is cut off')
    await shows('> /add asfaleia:card/2:name=Dave')
    front.put({ kind: 'key', chord: 'ctrl+u' })
    front.put({ kind: 'paste', text: `> ${dave.card.link.slice(0, 60)}\r\n> ${dave.card.link.slice(60)}` })
    front.put({ kind: 'key', chord: 'enter' })
    await shows('dave is now a contact')
    front.put({ kind: 'paste', text: `/add ${bob!.card.link} Robert` })
    front.put({ kind: 'key', chord: 'enter' })
    await shows('Robert is now a contact')
    expect(eve.people.book.list().map(({ name }) => name)).toEqual(['dave', 'Robert'])
  })

  it('accepts, ignores and blocks people who want to talk', async () => {
    const [dave, mallory, eve] = [await village.add('dave'), await village.add('mallory'), await village.add('eve')]
    const done: string[] = []
    const requests = { ignore: async (who: string) => void done.push(`ignore ${who}`), refresh: async () => void done.push('refresh') }
    const session = begin({ requests }, eve)
    const asks = (who: Person, said: string) => ({
      card: who.card,
      at: NOON / 1_000,
      messages: [{ id: makeId(), time: NOON / 1_000, text: said }],
    })
    await shows('You have no contacts yet')
    session.onRequests([asks(dave, 'hi'), asks(mallory, 'money')])
    await shows('mallory (not in your contacts) wants to talk: "money"')
    expect(front.notified).toBe(0)
    front.type('/to mallory')
    front.type('/ignore')
    await shows('the request of mallory is deleted')
    expect(done).toEqual([`ignore ${mallory.fingerprint}`])
    front.type('/to dave')
    front.type('hello dave')
    await until(() => messenger.sent.length === 1)
    expect(messenger.sent[0]).toMatchObject({ to: { name: 'dave' }, content: text('hello dave') })
    expect(eve.people.book.get('dave')?.card?.text).toBe(dave.card.text)
    await until(() => done.length === 2)
    session.onRequests([asks(mallory, 'money!')])
    front.type('/to mallory')
    front.type('/block')
    await shows('there is no folder for the list of blocked people')
  })

  it('keeps the messages of an accepted request in the history, but not those without a text', async () => {
    const [dave, eve] = [await village.add('dave'), await village.add('eve')]
    const history = new History(join(eve.folder, 'history'), eve.identity, '1')
    const session = begin({ history, requests: { ignore: async () => {}, refresh: async () => {} } }, eve)
    const at = NOON / 1_000
    const messages = [
      { id: makeId(), time: at, text: 'hi' },
      { id: makeId(), time: at, text: '' },
      { id: makeId(), time: at + 1, text: 'are you there?' },
    ]
    await shows('You have no contacts yet')
    session.onRequests([{ card: dave.card, at, messages }])
    await shows('wants to talk: "hi"')
    front.type('/to dave')
    front.type('/accept')
    await shows('dave is now a contact')
    const { kept } = await new History(join(eve.folder, 'history'), eve.identity, '2').read()
    expect(kept.map(({ author, text: said, at: time, conversation }) => [author, said, time, conversation])).toEqual([
      ['dave', 'hi', NOON, dave.fingerprint],
      ['dave', 'are you there?', NOON + 1_000, dave.fingerprint],
    ])
  })

  it('says how to get tor if nothing listens at its SOCKS port', async () => {
    begin({}, await village.add('eve'))
    messenger.happening.push({
      kind: 'relay',
      relay: 'localhost',
      purpose: 'receive',
      state: 'down',
      error: new RelayError('proxy-down'),
    })
    await shows('nothing listens at the SOCKS port')
    expect(front.look()).toContain('the SOCKS port; start tor, or name its SOCKS port')
  })
})

describe('a change of the profile by another command', () => {
  const relays = (): string[] => front.state!.relays.map(({ relay }) => relay)

  it('takes relays away that the profile no longer names, each time', async () => {
    const session = begin({ relays: ['one', 'two', 'three'] })
    await until(() => front.state !== undefined)
    expect(relays()).toEqual(['one', 'two', 'three'])
    session.onProfile({ relays: ['one', 'three', 'four'], receipts: { read: false } })
    expect(relays()).toEqual(['one', 'three'])
    session.onProfile({ relays: ['three'], receipts: { read: false } })
    expect(relays()).toEqual(['three'])
    // A profile without relays is one that is damaged, or that another command writes.
    session.onProfile({ relays: [], receipts: { read: false } })
    expect(relays()).toEqual(['three'])
  })

  it('leaves the relays alone that the user named for this chat', async () => {
    const session = begin({ relays: ['mine'], stored: ['one'] })
    await until(() => front.state !== undefined)
    for (const stored of [['one'], ['two'], ['mine', 'two'], ['two']]) session.onProfile({ relays: stored, receipts: { read: false } })
    expect(relays()).toEqual(['mine'])
  })

  it('sets the read receipts only if the profile sets them otherwise than before', async () => {
    const session = begin()
    await until(() => front.state !== undefined)
    session.onProfile({ relays: ['localhost'], receipts: { read: true } })
    expect(front.state!.receipts).toBe(true)
    front.type('/receipts off')
    await until(() => front.state!.receipts === false)
    session.onProfile({ relays: ['localhost'], receipts: { read: true } })
    expect(front.state!.receipts).toBe(false)
    session.onProfile({ relays: ['localhost'], receipts: { read: false } })
    session.onProfile({ relays: ['localhost'], receipts: { read: true } })
    expect(front.state!.receipts).toBe(true)
  })
})
