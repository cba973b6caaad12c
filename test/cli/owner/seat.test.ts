/** A client's place at the shared messenger: which events it gets, which messages are its own, and what its end withdraws. */
import { describe, expect, test } from 'vitest'
import type { Desk } from '../../../src/cli/owner/desk.ts'
import { Seat, type SeatHost, type SeatOptions } from '../../../src/cli/owner/seat.ts'
import type { Delivery } from '../../../src/client/messenger/delivery.ts'
import type { MessengerEvent } from '../../../src/client/messenger/event.ts'
import type { SendOptions } from '../../../src/client/messenger/options.ts'
import type { MessengerPort } from '../../../src/client/messenger/port.ts'
import type { FileDelivery } from '../../../src/client/messenger/transfers.ts'
import { sourceOf } from '../../support/files.ts'
import { makePerson } from '../../support/people.ts'

const bob = makePerson('bob')
const TEXT = { type: 'text', text: 'hi' } as const
const RELAY_UP: MessengerEvent = { kind: 'relay', relay: 'one', purpose: 'receive', state: 'up' }

function make(options: Partial<SeatOptions> = {}, { isFirst = false, others = [] as readonly string[] } = {}) {
  const did: string[] = []
  /** By the id of a message: its delivery, and the signal that withdraws it. */
  const sent: { delivery: { -readonly [Key in keyof Delivery]: Delivery[Key] }; signal: AbortSignal; settle: () => void }[] = []
  const signals: AbortSignal[] = []
  const messenger: Partial<MessengerPort> = {
    send: (to, content, { signal }: SendOptions = {}) => {
      const settled = Promise.withResolvers<Delivery['state']>()
      const delivery = { id: `m${sent.length}`, to, content, held: false, settled: settled.promise } as Delivery
      sent.push({ delivery, signal: signal!, settle: () => settled.resolve('delivered') })
      return delivery
    },
    sendFile: async (_to, { name }, { signal } = {}) => {
      signals.push(signal!)
      return { file: name } as FileDelivery
    },
    deliveries: () => ['m0', 'm1', 'earlier', 'other'].map((id) => ({ id }) as Delivery),
    read: (_from, ids) => void did.push(`read ${ids.join()}`),
  }
  const host: SeatHost = {
    messenger: messenger as MessengerPort,
    desk: { next: async () => undefined } as unknown as Desk,
    introduce: ({ name }) => void did.push(`introduce ${name}`),
    fetched: async () => new Map(),
    receiveFrom: () => {},
    leaveRelay: () => {},
    relays: () => [RELAY_UP],
    leave: () => void did.push('leave'),
    isFirst: () => isFirst,
    isOfAnother: (_seat, id) => others.includes(id),
  }
  const onLeave = async (): Promise<void> => void did.push('left')
  const seat = new Seat(host, { what: 'x', relays: [], members: false, takes: 'all', reads: true, outbox: false, onLeave, ...options })
  return { seat, sent, signals, did }
}

/** The kinds of the events that a seat passes on of those that it is given, besides the states of relays. */
async function passed(seat: Seat, events: readonly MessengerEvent[]): Promise<string[]> {
  const listener = seat.events()
  for (const event of events) seat.emit(event)
  await seat.close()
  const kinds: string[] = []
  for await (const { kind } of listener) kinds.push(kind)
  return kinds
}

const eventOf = (kind: MessengerEvent['kind'], more: object = {}): MessengerEvent => ({ kind, ...more }) as unknown as MessengerEvent
const deliveryOf = (id: string): MessengerEvent => eventOf('delivery', { delivery: { id } })
const fileOf = (file: string): MessengerEvent => eventOf('file-sent', { file: { file } })

describe('a client gets', () => {
  const RECEIVED = ['duplicate', 'file-received', 'clock'] as const

  test('first how the relays stand, and then each event about what comes', async () => {
    const events = [...RECEIVED, 'published'] as const
    expect(
      await passed(
        make().seat,
        events.map((kind) => eventOf(kind)),
      ),
    ).toEqual(['relay', ...events])
  })

  test.each(RECEIVED)('no event of the kind %s if it only sends', async (kind) => {
    expect(await passed(make({ takes: 'none' }).seat, [eventOf(kind), eventOf('published')])).toEqual(['relay', 'published'])
    expect(await passed(make({ takes: 'rest' }).seat, [eventOf(kind)])).toEqual(['relay', kind])
  })

  test('the states of its own messages and files only', async () => {
    const { seat } = make()
    seat.send(bob, TEXT)
    await seat.sendFile(bob, sourceOf('mine', new Uint8Array()))
    const events = [deliveryOf('other'), fileOf('theirs'), deliveryOf('m0'), fileOf('mine'), deliveryOf('earlier')]
    expect(await passed(seat, events)).toEqual(['relay', 'delivery', 'file-sent'])
  })

  test('those of an earlier run, too, if it is the owner itself', async () => {
    const { seat } = make({}, { isFirst: true, others: ['other'] })
    expect(await passed(seat, [deliveryOf('other'), deliveryOf('earlier')])).toEqual(['relay', 'delivery'])
  })
})

test('the messages of a client are those that it sent, and for the owner those of an earlier run', () => {
  const idsOf = ({ seat }: ReturnType<typeof make>): string[] => {
    seat.send(bob, TEXT)
    return seat.deliveries().map(({ id }) => id)
  }
  expect(idsOf(make())).toEqual(['m0'])
  expect(idsOf(make({}, { isFirst: true, others: ['other', 'm1'] }))).toEqual(['m0', 'earlier'])
})

test('the messenger learns the receiver first, and that a message was read only if the client may say so', () => {
  const { seat, did } = make()
  seat.send(bob, TEXT)
  seat.read(bob, ['a', 'b'])
  expect(did).toEqual(['introduce bob', 'read a,b'])
  const silent = make({ reads: false })
  silent.seat.read(bob, ['a'])
  expect(silent.did).toEqual([])
})

describe('the end of a client', () => {
  test('withdraws the messages that no relay has, and its files', async () => {
    const { seat, sent, signals } = make()
    for (let n = 0; n < 3; n++) seat.send(bob, TEXT)
    await seat.sendFile(bob, sourceOf('mine', new Uint8Array()))
    sent[1]!.delivery.held = true
    sent[2]!.settle()
    await sent[2]!.delivery.settled
    await seat.close()
    expect([...sent.map(({ signal }) => signal.aborted), ...signals.map(({ aborted }) => aborted)]).toEqual([true, false, false, true])
  })

  test('withdraws none if an outbox keeps them', async () => {
    const { seat, sent } = make({ outbox: true })
    seat.send(bob, TEXT)
    await seat.close()
    expect(sent[0]!.signal.aborted).toBe(false)
  })

  test('ends its messages, and leaves once', async () => {
    const { seat, did } = make()
    await seat.close()
    await seat.close()
    expect(did).toEqual(['leave', 'left'])
    expect(await seat.received()[Symbol.asyncIterator]().next()).toEqual({ value: undefined, done: true })
  })
})

test('a message is withdrawn by the client, by its own signal, or by its id', () => {
  const { seat, sent } = make()
  const own = new AbortController()
  seat.send(bob, TEXT, { signal: own.signal })
  seat.send(bob, TEXT)
  own.abort()
  expect(sent.map(({ signal }) => signal.aborted)).toEqual([true, false])
  seat.withdraw('m1')
  seat.withdraw('unknown')
  expect(sent.map(({ signal }) => signal.aborted)).toEqual([true, true])
  expect([seat.has('m1'), seat.has('unknown')]).toEqual([true, false])
})
