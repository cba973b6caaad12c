/** A WebSocket's stream over a socket that takes one write at a time. */
import { expect, test } from 'vitest'
import type { ByteStream, Receiver } from '../../src/relay/stream.ts'
import { MessageStream } from '../../src/transport/message-stream.ts'

/** A client's ping, masked by zeros. */
const ping = (text: string): Uint8Array => Buffer.from([0x89, 0x80 | text.length, 0, 0, 0, 0, ...Buffer.from(text)])
const pong = (text: string): string => Buffer.from([0x8a, text.length, ...Buffer.from(text)]).toString('latin1')

test('a write of the relay waits for a pong under way, and the newest ping is answered', () => {
  const writes: { readonly text: string; readonly done: () => void }[] = []
  const nothing = (): void => {}
  const stream: ByteStream = {
    framing: 'line',
    circuit: undefined,
    received: 0,
    write(bytes, done) {
      writes.push({ text: Buffer.from(bytes).toString('latin1'), done })
      return false
    },
    pause: nothing,
    resume: nothing,
    widen: nothing,
    end: nothing,
    destroy: nothing,
  }
  const receiver: Receiver = { onChunk: nothing, onFinish: nothing, onTooLarge: nothing, onIdleFrames: nothing, onEnd: nothing }
  const message = new MessageStream({ stream, longest: 1_000, dialled: 'localhost', accept: () => receiver })
  const texts = (): string[] => writes.map(({ text }) => text)
  let isTaken = false
  message.onChunk(ping('a'))
  expect(message.write(Buffer.from('relay'), () => (isTaken = true))).toBe(false)
  for (const text of ['b', 'c']) message.onChunk(ping(text))
  expect(texts()).toEqual([pong('a')])
  writes[0]!.done()
  expect(texts()).toEqual([pong('a'), pong('c')])
  writes[1]!.done()
  expect(texts()).toEqual([pong('a'), pong('c'), 'relay'])
  expect(isTaken).toBe(false)
  writes[2]!.done()
  expect(isTaken).toBe(true)
})
