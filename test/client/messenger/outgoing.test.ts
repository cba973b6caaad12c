import { expect, test } from 'vitest'
import { type Courier, type CourierOptions, Outgoing } from '../../../src/client/messenger/outgoing.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { createClock } from '../../support/clock.ts'

/** Returns a connection that takes every message. */
const courier = (): Courier => ({
  token: { text: 'token', renewAt: Number.POSITIVE_INFINITY },
  sendSealed: async () => ({ seconds: 60 }),
  fetch: async () => undefined,
  onEnd() {},
  close() {},
})

/** Sends message `a`, closes the idle connection, and sends `b` early on the next one. @returns what the outbox learns */
async function sendTwice(second: Courier, connect: (second: Courier) => Promise<Courier>): Promise<string[]> {
  const told: string[] = []
  const clock = createClock()
  const tell = (what: string) => (): unknown => told.push(what)
  const outgoing = new Outgoing({
    clock,
    seal: async () => new Uint8Array(1),
    connect: async ({ token, early }: CourierOptions) => {
      if (token === undefined) return courier()
      early?.(second)
      // The answer to the early message is there before the connection stands.
      await new Promise(setImmediate)
      return connect(second)
    },
    onState: (state) => state === 'up' && told.push('up'),
    onSent: (id) => told.push(`${id} is sent`),
    onRefused: tell('refused'),
    onLost: tell('lost'),
    onIdle: tell('idle'),
  })
  outgoing.send('a', 'bob', new Uint8Array(1))
  await new Promise(setImmediate)
  clock.skip(60_000)
  outgoing.send('b', 'bob', new Uint8Array(1))
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  outgoing.close()
  return told
}

test('a message that left early is reported after the connection, which may tell that the relay forgot earlier ones', async () => {
  expect(await sendTwice(courier(), async (second) => second)).toEqual(['up', 'a is sent', 'idle', 'up', 'b is sent'])
})

test('a message that left early is lost if the connection then fails', async () => {
  const fail = async (): Promise<Courier> => {
    throw new RelayError('closed')
  }
  expect(await sendTwice(courier(), fail)).toEqual(['up', 'a is sent', 'idle', 'lost'])
})

/** Sends a message that fails. @returns what the outbox learns, and the reasons for which the connection was closed */
async function fail(problem: unknown): Promise<{ told: unknown[]; closed: unknown[] }> {
  const told: unknown[] = []
  const closed: unknown[] = []
  const client: Courier = { ...courier(), sendSealed: () => Promise.reject(problem), close: (reason) => closed.push(reason) }
  const outgoing = new Outgoing({
    clock: createClock(),
    seal: async () => new Uint8Array(1),
    connect: async () => client,
    onState: (state) => told.push(state),
    onSent: () => told.push('sent'),
    onRefused: (...refusal) => told.push(refusal),
    onLost: (...loss) => told.push(loss),
    onIdle: () => told.push('idle'),
  })
  outgoing.send('a', 'bob', new Uint8Array(1))
  for (let turns = 0; turns < 5; turns++) await new Promise(setImmediate)
  const outcome = { told: [...told], closed: [...closed] }
  outgoing.close()
  return outcome
}

test('a message that the relay refuses is reported with the code and the time, and the connection stays', async () => {
  expect(await fail(new RelayError('rate-limited', { seconds: 7 }))).toEqual({
    told: ['connecting', 'up', ['a', 'rate-limited', 7]],
    closed: [],
  })
  expect(await fail(new RelayError('denied'))).toEqual({ told: ['connecting', 'up', ['a', 'denied', undefined]], closed: [] })
})

test('a message that fails with its connection is reported by the end of that connection alone', async () => {
  expect(await fail(new RelayError('closed'))).toEqual({ told: ['connecting', 'up'], closed: [] })
})

test('an error that is none of a relay ends the connection, with the error as the reason', async () => {
  const error = new TypeError('a defect')
  expect(await fail(error)).toEqual({ told: ['connecting', 'up'], closed: [error] })
})
