/**
 * A client and the owner of its profile, over a socket: each request, answer and file crosses it whole. The seat at the
 * messenger is the test's.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { greet } from '../../../src/cli/owner/greeting.ts'
import { GUEST, Guest, type GuestHost } from '../../../src/cli/owner/guest.ts'
import { Link } from '../../../src/cli/owner/link.ts'
import type { Wishes } from '../../../src/cli/owner/record.ts'
import type { Seat } from '../../../src/cli/owner/seat.ts'
import { CliError } from '../../../src/cli/program/error.ts'
import type { FileSource, FileState } from '../../../src/client/delivery/file.ts'
import { makeId } from '../../../src/client/format/field.ts'
import { Channel } from '../../../src/client/messenger/channel.ts'
import { Deliveries } from '../../../src/client/messenger/delivery.ts'
import { MessengerError } from '../../../src/client/messenger/error.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { SendOptions } from '../../../src/client/messenger/options.ts'
import { makePerson } from '../../support/people.ts'

const { key, name, relays } = makePerson('bob', 'localhost')
const BOB = { key, name, relays }
const WISHES: Wishes = { relays: ['localhost'], takes: 'all', members: false, outbox: true, reads: true }
const HELLO = { version: '1.2.3', what: 'send' }
const TEXT = { type: 'text', text: 'hello' } as const

/** A file that the owner sends for the client. */
interface Sending {
  readonly source: FileSource
  readonly options: { readonly deadline?: number; readonly signal?: AbortSignal }
  change(state: FileState, confirmed: number): void
}

let folder: string
let server: Server
let full: boolean
let guests: Guest[]
let links: Link[]
/** What the owner was asked for: the name of a method and its arguments. */
let asked: unknown[][]
let sendings: Sending[]
let deliveries: Deliveries
let events: Channel<MessengerEvent>
/** The error that each request fails with. */
let failure: Error | undefined

const seat = {
  takes: 'all',
  send(to: unknown, content: Parameters<Deliveries['add']>[2], options: SendOptions) {
    asked.push(['send', to, content, options])
    return deliveries.list().find(({ id }) => id === options.id) ?? deliveries.add(options.id!, BOB, content)
  },
  withdraw: (id: string) => void asked.push(['withdraw', id]),
  async sendFile(to: unknown, source: FileSource, options: Sending['options']) {
    asked.push(['sendFile', to, source.name, source.size])
    if (failure !== undefined) throw failure
    const { promise: settled, resolve } = Promise.withResolvers<FileState>()
    const file = {
      file: makeId(),
      name: source.name,
      total: source.size,
      confirmed: 0,
      state: 'offered' as FileState,
      error: undefined,
      settled,
    }
    sendings.push({
      source,
      options,
      change(state, confirmed) {
        Object.assign(file, { state, confirmed })
        events.push({ kind: 'file-sent', file } as unknown as MessengerEvent)
        if (state !== 'sending') resolve(state)
      },
    })
    return file
  },
  received: () => new Channel<never>(),
  events: () => events,
  read: (...args: unknown[]) => void asked.push(['read', ...args]),
  accept: (...args: unknown[]) => answer(['accept', ...args], true),
  renewAddress: (...args: unknown[]) => answer(['renewAddress', ...args], undefined),
  forget: (...args: unknown[]) => answer(['forget', ...args], undefined),
  receiveFrom: (relay: string) => void asked.push(['receiveFrom', relay]),
  leaveRelay: (relay: string) => void asked.push(['leaveRelay', relay]),
  fetched: () => answer(['fetched'], new Map([['localhost', 'missed']])),
  flush: ({ signal }: { signal: AbortSignal }) =>
    new Promise<void>((resolve) => {
      asked.push(['flush'])
      signal.addEventListener('abort', () => {
        asked.push(['flush ended'])
        resolve()
      })
    }),
  async close() {
    asked.push(['close'])
  },
} as unknown as Seat

async function answer<T>(words: unknown[], value: T): Promise<T> {
  asked.push(words)
  if (failure !== undefined) throw failure
  return value
}

const host: GuestHost = {
  options: { version: '1.2.3', outbox: true, socks: '127.0.0.1:9050', receiverFor: () => ({}) as never },
  what: 'chat',
  holds: new Map([['localhost', 60]]),
  seat: (options) => {
    asked.push(['seat', options])
    return seat
  },
  refresh: () => answer(['refresh'], undefined),
  reception: {
    begin: async () => {},
    list: () => answer(['list'], []),
    ignore: (fingerprint: string) => answer(['ignore', fingerprint], undefined),
    markShown: (ids: readonly string[]) => answer(['markShown', ids], undefined),
  } as unknown as GuestHost['reception'],
}

const place = (): { socket: string; lock: string } => ({ socket: join(folder, 'owner'), lock: join(folder, 'lock') })

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asf-guest-'))
  full = false
  guests = []
  links = []
  asked = []
  sendings = []
  deliveries = new Deliveries()
  events = new Channel()
  failure = undefined
  server = createServer((socket: Socket) => guests.push(new Guest(host, socket, full))).listen(place().socket)
  await once(server, 'listening')
})

afterEach(async () => {
  for (const link of links) await link.close()
  for (const guest of guests) guest.destroy()
  server.close()
  await once(server, 'close')
  rmSync(folder, { recursive: true, force: true })
})

async function dial(wishes: Wishes | undefined = WISHES): Promise<Link> {
  const greeted = await greet(place(), HELLO, wishes)
  const heard =
    (what: string) =>
    (...args: unknown[]) =>
      void asked.push([what, ...args])
  const listener = { onHolds: heard('holds'), onArrived: heard('arrived'), onChanged: heard('changed'), onRequests: heard('requests') }
  const link = new Link(greeted!, { find: () => undefined }, listener)
  links.push(link)
  return link
}

/** Waits until the owner was asked for these. */
async function asks(...wanted: unknown[][]): Promise<void> {
  for (const each of wanted) await expect.poll(() => asked).toContainEqual(each)
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

function fileOf(text: string): FileSource {
  return { name: 'f.txt', size: text.length, read: async (offset, length) => bytes(text.slice(offset, offset + length)) }
}

describe('a client of the owner', () => {
  test('has the seat that it wishes for, and hears how long each relay holds messages', async () => {
    const link = await dial({ ...WISHES, mirrors: true, members: true })
    expect(link.owner).toMatchObject({ what: 'chat', version: '1.2.3', outbox: true, socks: '127.0.0.1:9050', pid: process.pid })
    const seat = { ...WISHES, mirrors: true, members: true, what: 'send', onLeave: expect.any(Function) as () => void }
    await asks(['seat', seat], ['holds', 'localhost', 60])
  })

  test.each<[string, SendOptions]>([
    ['no option', {}],
    ['a group', { group: makeId() }],
    ['the time of its end', { expires: 1_800_000_000 }],
    ['a deadline', { deadline: 1_800_000_000_000 }],
    ['a spread over the relays', { spread: true }],
    ['the SSH key as its receiver', { toKey: true }],
  ])('sends a message with %s', async (_what, options) => {
    const link = await dial()
    const { id } = link.send(BOB, TEXT, options)
    await asks(['send', expect.objectContaining({ name: 'bob' }), TEXT, { id, hurry: true, ...options }])
  })

  test('hears of a message that went on before, under another client', async () => {
    const link = await dial()
    const id = makeId()
    deliveries.add(id, BOB, TEXT)
    deliveries.change({ id, state: 'held', relay: 'localhost' })
    const delivery = link.send(BOB, TEXT, { id })
    expect(await delivery.accepted).toBe('held')
    expect(delivery.relay).toBe('localhost')
  })

  test.each<[string, (link: Link) => Promise<unknown>, unknown[], unknown]>([
    ['accept', (link) => link.accept(BOB), ['accept', BOB], true],
    ['renewAddress', (link) => link.renewAddress(BOB), ['renewAddress', BOB], undefined],
    ['forget', (link) => link.forget(BOB), ['forget', BOB], undefined],
    ['fetched', (link) => link.fetched(), ['fetched'], new Map([['localhost', 'missed']])],
    ['requests', (link) => link.requests(), ['list'], []],
    ['ignore', (link) => link.ignore('SHA256:x'), ['ignore', 'SHA256:x'], undefined],
    ['markShown', (link) => link.markShown(['one', 'two']), ['markShown', ['one', 'two']], undefined],
    ['refresh', (link) => link.refresh(), ['refresh'], undefined],
  ])('gets the answer or the error of %s', async (_name, ask, words, value) => {
    const link = await dial()
    asked = []
    expect(await ask(link)).toEqual(value)
    expect(asked).toContainEqual(
      words.map((word) => (word === BOB ? expect.objectContaining({ name: 'bob', relays: ['localhost'] }) : word)),
    )
    failure = new CliError('no space left')
    await expect(ask(link)).rejects.toThrow('no space left')
  })

  test('passes on which messages are read, and which relays to receive from', async () => {
    const link = await dial()
    link.read(BOB, ['one'])
    link.receiveFrom('a.onion')
    link.leaveRelay('b.onion')
    await asks(['read', expect.objectContaining({ name: 'bob' }), ['one']], ['receiveFrom', 'a.onion'], ['leaveRelay', 'b.onion'])
  })

  test('that leaves while it waits for a flush ends the flush and its seat', async () => {
    const link = await dial()
    const flushed = link.flush()
    await asks(['flush'])
    expect(asked).not.toContainEqual(['flush ended'])
    const [flush] = await Promise.allSettled([flushed, link.close()])
    expect(flush).toEqual({ status: 'rejected', reason: new MessengerError('closed') })
    await asks(['flush ended'], ['close'])
  })

  test('without a seat may read again, and see or ignore requests, but do nothing else', async () => {
    const greeted = await greet(place(), HELLO)
    const answers: unknown[] = []
    greeted!.listen((tell) => void answers.push(tell))
    greeted!.lines.send({ kind: 'refresh', n: 1 })
    greeted!.lines.send({ kind: 'requests', n: 2 })
    greeted!.lines.send({ kind: 'ignore', n: 3, fingerprint: 'SHA256:x' })
    await expect.poll(() => answers).toHaveLength(3)
    for (const guest of guests) guest.tellHolds('localhost', 1)
    for (const guest of guests) guest.tellChanged()
    for (const guest of guests) guest.tellRequests([])
    greeted!.lines.send({ kind: 'receive', relay: 'localhost' })
    await greeted!.lines.closed
    expect(answers.map((each) => (each as { kind: string }).kind)).toEqual(['answer', 'answer', 'answer'])
    expect(asked.map(([what]) => what)).toEqual(['refresh', 'list', 'ignore'])
  })

  test('beyond the most is refused, and the owner ignores all that it asks', async () => {
    full = true
    await expect(dial()).rejects.toThrow('too many commands of this profile run at once')
    expect(asked).toEqual([])
  })
})

describe('a file', () => {
  test('is read from the client part by part, and its progress comes back', async () => {
    const link = await dial()
    const states: string[] = []
    const listen = (async () => {
      for await (const event of link.events()) if (event.kind === 'file-sent') states.push(`${event.file.state} ${event.file.confirmed}`)
    })()
    const file = await link.sendFile(BOB, fileOf('butter and flour'))
    expect(asked).toContainEqual(['sendFile', expect.objectContaining({ name: 'bob' }), 'f.txt', 16])
    const [sending] = sendings
    expect(sending!.options).toEqual({ signal: expect.any(AbortSignal) as AbortSignal })
    expect(Buffer.from(await sending!.source.read(7, 9)).toString()).toBe('and flour')
    sending!.change('sending', 8)
    await expect.poll(() => states).toContain('sending 8')
    sending!.change('done', 16)
    expect(await file.settled).toBe('done')
    expect(file).toMatchObject({ name: 'f.txt', total: 16, confirmed: 16, state: 'done', error: undefined })
    await link.close()
    await listen
    expect([...new Set(states)]).toEqual(['offered 0', 'sending 8', 'done 16'])
  })

  test('has the deadline that the client names', async () => {
    const link = await dial()
    await link.sendFile(BOB, fileOf('x'), { deadline: 1_800_000_000_000 })
    expect(sendings[0]!.options.deadline).toBe(1_800_000_000_000)
  })

  test('that the client cannot read fails with its error', async () => {
    const link = await dial()
    await link.sendFile(BOB, { name: 'f', size: 1, read: () => Promise.reject(new CliError('the disk is gone')) })
    await expect(sendings[0]!.source.read(0, 1)).rejects.toThrow('the disk is gone')
  })

  test('fails if its client leaves while the owner waits for a part', async () => {
    const link = await dial()
    await link.sendFile(BOB, { name: 'f', size: 1, read: () => new Promise(() => {}) })
    const [part] = await Promise.allSettled([sendings[0]!.source.read(0, 1), link.close()])
    expect(part).toEqual({ status: 'rejected', reason: new Error('the client has left') })
  })

  test('is withdrawn if the client withdraws it, and no other one is', async () => {
    const link = await dial()
    const withdrawn = new AbortController()
    await link.sendFile(BOB, fileOf('kept'))
    await link.sendFile(BOB, fileOf('lost'), { signal: withdrawn.signal })
    withdrawn.abort()
    await expect.poll(() => sendings[1]!.options.signal!.aborted).toBe(true)
    expect(sendings[0]!.options.signal!.aborted).toBe(false)
  })

  test('that the messenger refuses fails with its error', async () => {
    const link = await dial()
    failure = new CliError('too large')
    await expect(link.sendFile(BOB, fileOf('x'))).rejects.toThrow('too large')
  })

  test('takes the last free place, and one beyond it is refused until another ends', async () => {
    const link = await dial()
    for (let n = 0; n < GUEST.files; n++) await link.sendFile(BOB, fileOf(String(n)))
    await expect(link.sendFile(BOB, fileOf('x'))).rejects.toThrow('too many files at once')
    sendings[5]!.change('done', 1)
    await expect
      .poll(() =>
        link.sendFile(BOB, fileOf('x')).then(
          () => 'sent',
          () => 'refused',
        ),
      )
      .toBe('sent')
  })
})
