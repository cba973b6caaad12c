import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BREACH, encodePong, FrameReader, TOO_BIG } from '../../src/transport/frames.ts'
import { chunksOf } from '../support/chunks.ts'
import { BINARY, CLOSE, CONTINUATION, decodeFrames, encodeFrame, PING, PONG, TEXT } from '../support/frames.ts'

const LONGEST = 1_000

/** Reads chunks and returns the lines as one string, and the other events as texts. */
function read(chunks: readonly Uint8Array[], longest = LONGEST): { lines: string; told: string[]; calls: number } {
  let lines = ''
  let calls = 0
  const told: string[] = []
  const reader = new FrameReader(longest, {
    onLines(chunk) {
      if (chunk.length > 0) calls++
      lines += Buffer.from(chunk).toString('latin1')
      chunk.fill(0)
    },
    onPing: (payload) => told.push(`ping ${Buffer.from(payload).toString('latin1')}`),
    onClose: (code) => told.push(`close ${code}`),
    onRefused: (code) => told.push(`refused ${code}`),
  })
  for (const chunk of chunks) {
    reader.read(chunk)
    // The reader must overwrite every chunk that it was lent.
    expect(chunk.every((byte) => byte === 0)).toBe(true)
  }
  return { lines, told, calls }
}

const join = (frames: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(frames))
const byteByByte = (bytes: Uint8Array): Uint8Array[] =>
  chunksOf(
    bytes,
    Array.from(bytes, () => 1),
  )

it('the payload of a ping is overwritten after it was given, and that of half a ping when the reader is cleared', () => {
  const given: Uint8Array[] = []
  const nothing = (): void => {}
  const reader = new FrameReader(LONGEST, {
    onLines: nothing,
    onPing: (payload) => given.push(payload),
    onClose: nothing,
    onRefused: nothing,
  })
  const room = (): Buffer => Buffer.from(given[0]!.buffer)
  reader.read(Uint8Array.from(encodeFrame('who are you', { opcode: PING })))
  expect(given[0]!.length).toBe(11)
  expect(room().includes('who')).toBe(false)
  reader.read(Uint8Array.from(encodeFrame('who are you', { opcode: PING }).subarray(0, -1)))
  expect(room().includes('who')).toBe(true)
  reader.clear()
  expect(room().includes('who')).toBe(false)
})

describe('frames of any masking', () => {
  const mask = fc.oneof(fc.constant(Uint8Array.of(0, 0, 0, 0)), fc.uint8Array({ minLength: 4, maxLength: 4 }))
  const payload = fc.oneof(
    { weight: 4, arbitrary: fc.uint8Array({ maxLength: 140 }) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 200, maxLength: 70_000, size: 'max' }) },
  )
  /** A message in parts, each optionally preceded by a ping or a pong. */
  const message = fc.record({
    binary: fc.boolean(),
    parts: fc.array(fc.record({ payload, mask, before: fc.constantFrom(undefined, PING, PONG) }), { minLength: 1, maxLength: 4 }),
  })

  it('read the same however a message is cut into frames and chunks', () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 6 }),
        fc.infiniteStream(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 65_536 }))),
        (messages, cuts) => {
          const frames: Uint8Array[] = []
          let lines = ''
          const told: string[] = []
          for (const { binary, parts } of messages) {
            for (const [n, part] of parts.entries()) {
              if (part.before !== undefined) frames.push(encodeFrame(`at\r\n${n}`, { opcode: part.before, mask: part.mask }))
              if (part.before === PING) told.push(`ping at\r\n${n}`)
              frames.push(
                encodeFrame(part.payload, {
                  opcode: n > 0 ? CONTINUATION : binary ? BINARY : TEXT,
                  fin: n === parts.length - 1,
                  mask: part.mask,
                }),
              )
              lines += Buffer.from(part.payload)
                .toString('latin1')
                .replaceAll(/[\r\n]/g, '\0')
            }
            lines += '\n'
          }
          const all = join(frames)
          for (const chunks of [[Uint8Array.from(all)], chunksOf(all, cuts)]) {
            const outcome = read(chunks, 1_000_000)
            expect(outcome.lines === lines).toBe(true)
            expect(outcome.told).toEqual(told)
            // One call for each chunk, and one more for a line end that does not fit into the chunk.
            expect(outcome.calls).toBeLessThanOrEqual(chunks.length * 2)
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  it('read the same byte by byte as whole, for every payload length around a machine word', () => {
    for (let length = 0; length < 140; length++) {
      const text = randomBytes(length).toString('hex').slice(0, length)
      const frames = join([
        encodeFrame('7'),
        encodeFrame(text, { fin: false }),
        encodeFrame('', { opcode: PING }),
        encodeFrame(text, { opcode: CONTINUATION }),
        encodeFrame(''),
      ])
      const expected = { lines: `7\n${text}${text}\n\n`, told: ['ping '] }
      expect(read(byteByByte(frames))).toMatchObject(expected)
      expect(read([frames])).toMatchObject({ ...expected, calls: 1 })
    }
  })

  it('are decoded in place within a chunk, without writing outside it', () => {
    for (let offset = 0; offset < 9; offset++) {
      const around = new Uint8Array(600).fill(0x78)
      const frames = join([encodeFrame('a'.repeat(101)), encodeFrame('b'.repeat(203)), encodeFrame('c'.repeat(49)).subarray(0, 30)])
      around.set(frames, offset)
      expect(read([around.subarray(offset, offset + frames.length)]).lines).toBe(
        `${'a'.repeat(101)}\n${'b'.repeat(203)}\n${'c'.repeat(24)}`,
      )
      expect(around.every((byte, at) => byte === (at >= offset && at < offset + frames.length ? 0 : 0x78))).toBe(true)
    }
  })

  it('never split a message into two lines, wherever it holds line breaks', () => {
    for (const end of ['\n', '\r', '\r\n']) {
      for (const text of [end, `7${end}`, `${end}7`, `1234${end}`, `12345678${end}12`, `${'\x0d'.repeat(9)}${end}`]) {
        expect(read([encodeFrame(text)]).lines).toBe(`${text.replaceAll(/[\r\n]/g, '\0')}\n`)
        expect(read(byteByByte(encodeFrame(text))).lines).toBe(`${text.replaceAll(/[\r\n]/g, '\0')}\n`)
      }
    }
    expect(read([encodeFrame('\0\t\x0b\x0c\x0e\x7f\x80\xff7654')]).lines).toBe('\0\t\x0b\x0c\x0e\x7f\x80\xff7654\n')
  })
})

describe('the frame reader, by RFC 6455,', () => {
  const breach = `refused ${BREACH}`
  const tooBig = `refused ${TOO_BIG}`
  const close = (code: number, reason = ''): Uint8Array =>
    encodeFrame(Buffer.concat([Buffer.of(code >>> 8, code & 0xff), Buffer.from(reason)]), { opcode: CLOSE })
  const first = encodeFrame('a', { fin: false })
  const rows: [what: string, frames: Uint8Array[], told: string, lines?: string][] = [
    ['refuses a frame without a mask', [encodeFrame('7', { mask: undefined })], breach],
    [
      'a frame without a mask after good ones',
      [encodeFrame('7'), encodeFrame('8'), encodeFrame('7', { mask: undefined })],
      breach,
      '7\n8\n',
    ],
    ...[1, 2, 4, 7].map((reserved): [string, Uint8Array[], string] => [
      `refuses the reserved bits ${reserved}`,
      [encodeFrame('7', { reserved })],
      breach,
    ]),
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): [string, Uint8Array[], string] => [
      `refuses the opcode ${opcode}`,
      [encodeFrame('7', { opcode })],
      breach,
    ]),
    ['refuses a continuation without a message', [encodeFrame('7', { opcode: CONTINUATION })], breach],
    ['refuses a continuation of a message that has ended', [encodeFrame('7'), encodeFrame('7', { opcode: CONTINUATION })], breach, '7\n'],
    ['refuses a message within a message', [first, encodeFrame('7')], breach, 'a'],
    ['refuses a binary message within a message', [first, encodeFrame('7', { opcode: BINARY })], breach, 'a'],
    ...[CLOSE, PING, PONG].map((opcode): [string, Uint8Array[], string] => [
      `refuses a fragmented control frame of opcode ${opcode}`,
      [encodeFrame('77', { opcode, fin: false })],
      breach,
    ]),
    ...[CLOSE, PING, PONG].map((opcode): [string, Uint8Array[], string] => [
      `refuses 126 bytes in a control frame of opcode ${opcode}`,
      [encodeFrame('7'.repeat(126), { opcode })],
      breach,
    ]),
    ...[0, 1, 125].map((length): [string, Uint8Array[], string] => [
      `refuses a length of ${length} in two bytes`,
      [encodeFrame('x'.repeat(length), { lengthBytes: 2 })],
      breach,
    ]),
    ...[0, 125, 126, 65_535].map((length): [string, Uint8Array[], string] => [
      `refuses a length of ${length} in eight bytes`,
      [encodeFrame('', { length, lengthBytes: 8 })],
      breach,
    ]),
    ['refuses the highest bit of a length', [Uint8Array.of(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1)], breach],
    ['refuses a header that claims a length over the limit', [encodeFrame('', { length: LONGEST + 1 })], tooBig],
    ['refuses a length of 2^32', [encodeFrame('', { length: 2 ** 32, lengthBytes: 8 })], tooBig],
    ['refuses a length of 2^63 - 1', [Uint8Array.of(0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)], tooBig],
    [
      'refuses a message over the limit in parts',
      [encodeFrame('x'.repeat(600), { fin: false }), encodeFrame('', { opcode: CONTINUATION, fin: false, length: 401 })],
      tooBig,
      'x'.repeat(600),
    ],
    ['refuses a close of one byte', [encodeFrame('7', { opcode: CLOSE })], breach],
    ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map((code): [string, Uint8Array[], string] => [
      `refuses the close code ${code}`,
      [close(code)],
      breach,
    ]),
    // RFC 6455 allows these.
    ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999].map(
      (code): [string, Uint8Array[], string] => [`accepts the close code ${code}`, [close(code)], `close ${code}`],
    ),
    ['accepts a close without a code', [encodeFrame('', { opcode: CLOSE })], 'close undefined'],
    ['accepts a close with a reason', [close(1000, 'x'.repeat(123))], 'close 1000'],
    ['accepts a close within a message', [first, close(1001)], 'close 1001', 'a'],
    ['accepts a ping of 125 bytes', [encodeFrame('7'.repeat(125), { opcode: PING })], `ping ${'7'.repeat(125)}`],
    [
      'accepts a message of exactly the limit in parts',
      [encodeFrame('x'.repeat(600), { fin: false }), encodeFrame('x'.repeat(400), { opcode: CONTINUATION }), close(1000)],
      'close 1000',
      `${'x'.repeat(1_000)}\n`,
    ],
    [
      'accepts one message of exactly the limit after another',
      [encodeFrame('x'.repeat(1_000)), encodeFrame('y'.repeat(1_000)), close(1000)],
      'close 1000',
      `${'x'.repeat(1_000)}\n${'y'.repeat(1_000)}\n`,
    ],
  ]

  it.each(rows)('%s', (_what, frames, told, lines = '') => {
    // The reader must ignore everything after the frame, unless the frame is a ping.
    const all = join(told.startsWith('ping') ? frames : [...frames, encodeFrame('7'), encodeFrame('', { opcode: PING })])
    for (const chunks of [[Uint8Array.from(all)], byteByByte(all), frames.map((frame) => Uint8Array.from(frame))]) {
      expect(read(chunks)).toMatchObject({ lines, told: [told] })
    }
  })
})

describe('frames that complete no message', () => {
  it.each([
    ['pings', Array.from({ length: 300 }, () => encodeFrame('', { opcode: PING })), 300],
    ['pongs', Array.from({ length: 300 }, () => encodeFrame('x', { opcode: PONG })), 300],
    [
      'parts of a message',
      [encodeFrame('', { fin: false }), ...Array.from({ length: 99 }, () => encodeFrame('', { opcode: CONTINUATION, fin: false }))],
      100,
    ],
    ['whole messages', Array.from({ length: 300 }, () => encodeFrame('7')), 0],
    ['a message in two parts', [encodeFrame('7', { fin: false }), encodeFrame('', { opcode: CONTINUATION })], 1],
  ])('are counted: %s', (_what, frames, count) => {
    for (const chunks of [[join(frames)], byteByByte(join(frames))]) {
      const reader = new FrameReader(LONGEST, {
        onLines: (chunk) => void chunk.fill(0),
        onPing: () => {},
        onClose: () => {},
        onRefused: () => {},
      })
      expect(chunks.reduce((sum, chunk) => sum + reader.read(chunk), 0)).toBe(count)
    }
  })
})

describe('control frames', () => {
  it('are dropped unfinished when the reader is cleared', () => {
    const pings: Uint8Array[] = []
    const reader = new FrameReader(LONGEST, {
      onLines: () => {},
      onPing: (payload) => pings.push(Uint8Array.from(payload)),
      onClose: () => {},
      onRefused: () => {},
    })
    const half = encodeFrame('secret', { opcode: PING })
    reader.read(Uint8Array.from(half))
    reader.read(half.subarray(0, 9))
    reader.clear()
    reader.read(half.subarray(9))
    expect(pings.map((payload) => Buffer.from(payload).toString())).toEqual(['secret'])
  })

  it('of a pong carry as many bytes as the ping', () => {
    const first = encodePong(randomBytes(125))
    for (const length of [0, 1, 125]) {
      expect(encodePong(Buffer.alloc(length), first)).toHaveLength(2 + length)
      const { frames, rest } = decodeFrames(encodePong(randomBytes(length)))
      expect([frames.length, frames[0]!.opcode, frames[0]!.payload.length, rest.length]).toEqual([1, PONG, length, 0])
    }
  })
})
