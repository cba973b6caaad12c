/** A connection of a client over a stream in memory: which answer belongs to which request, and when it is too late. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Connection } from '../../../src/client/wire/connection.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const TIMEOUT = 1_000

function make(isEarly = false) {
  let receive = (_chunk: Uint8Array): void => {}
  let isClosed = false
  const ends: unknown[] = []
  const connection = new Connection(
    {
      framing: 'line',
      start: ({ onChunk }) => void (receive = onChunk),
      write: () => {},
      close: () => void (isClosed = true),
    },
    {
      relay: 'localhost',
      timeout: TIMEOUT,
      isEarly,
      onMessage: () => {},
      onTakenOver: () => {},
      onMoved: () => {},
      onEnd: (error) => ends.push(error),
    },
  )
  /** The outcomes of pings, in the order in which they settle. */
  const outcomes: string[] = []
  const ping = (name: string): void =>
    void connection
      .request('PING', (session) => session.ping())
      .then(
        () => outcomes.push(`${name} answered`),
        (error: { readonly code: string }) => outcomes.push(`${name} ${error.code}`),
      )
  return {
    connection,
    ping,
    outcomes,
    ends,
    say: (text: string) => receive(Buffer.from(text)),
    isClosed: () => isClosed,
  }
}

test('each answer and each refusal belongs to the oldest request', async () => {
  const { ping, say, outcomes } = make()
  for (const name of ['one', 'two', 'three']) ping(name)
  say('99;rate-limited;text;3\n17\n')
  await vi.advanceTimersByTimeAsync(0)
  expect(outcomes).toEqual(['one rate-limited', 'two answered'])
  say('17\n')
  await vi.advanceTimersByTimeAsync(0)
  expect(outcomes).toEqual(['one rate-limited', 'two answered', 'three answered'])
})

describe('a request without an answer', () => {
  test('ends the connection and all requests once its time is over', async () => {
    const { ping, outcomes, ends, isClosed } = make()
    for (const name of ['one', 'two']) ping(name)
    await vi.advanceTimersByTimeAsync(TIMEOUT - 1)
    expect([outcomes, isClosed()]).toEqual([[], false])
    await vi.advanceTimersByTimeAsync(1)
    expect(outcomes).toEqual(['one no-answer', 'two no-answer'])
    expect([isClosed(), ends]).toMatchObject([true, [{ code: 'no-answer' }]])
    ping('three')
    await vi.advanceTimersByTimeAsync(0)
    expect(outcomes.at(-1)).toBe('three no-answer')
  })

  test('has its time from the answer before, and none passes without a request', async () => {
    const { ping, say, outcomes } = make()
    for (const name of ['one', 'two']) ping(name)
    await vi.advanceTimersByTimeAsync(TIMEOUT - 1)
    say('17\n')
    await vi.advanceTimersByTimeAsync(TIMEOUT - 1)
    say('17\n')
    await vi.advanceTimersByTimeAsync(TIMEOUT * 10)
    expect(outcomes).toEqual(['one answered', 'two answered'])
  })

  test('has no time limit before the relay is reached, and has one from then on', async () => {
    const { connection, ping, outcomes } = make(true)
    ping('one')
    await vi.advanceTimersByTimeAsync(TIMEOUT * 10)
    expect(outcomes).toEqual([])
    connection.begin()
    await vi.advanceTimersByTimeAsync(TIMEOUT - 1)
    expect(outcomes).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(outcomes).toEqual(['one no-answer'])
  })
})

test('a connection ends once, and every request fails with the reason', async () => {
  const { connection, ping, say, outcomes, ends } = make()
  ping('one')
  connection.end({ code: 'first' })
  connection.end({ code: 'second' })
  say('17\n')
  ping('two')
  await vi.advanceTimersByTimeAsync(TIMEOUT * 10)
  expect(outcomes).toEqual(['one first', 'two first'])
  expect(ends).toEqual([{ code: 'first' }])
})
