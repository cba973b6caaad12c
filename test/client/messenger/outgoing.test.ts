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
