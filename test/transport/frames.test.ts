import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { Frames } from '../../src/transport/frames.ts'

/** RFC 6455, section 5.2; masked by zeros. */
function frame(length: number, { opcode = 1, fin = true, masked = true, fill = 'x' } = {}): Buffer {
  const size = length < 126 ? Buffer.of(length) : Buffer.alloc(length < 65_536 ? 3 : 9, 0)
  if (size.length === 3) size.writeUInt16BE(length, 1)
  if (size.length === 9) size.writeBigUInt64BE(BigInt(length), 1)
  if (size.length > 1) size[0] = size.length === 3 ? 126 : 127
  if (masked) size[0]! |= 0x80
  return Buffer.concat([Buffer.of((fin ? 0x80 : 0) | opcode), size, Buffer.alloc(masked ? 4 : 0), Buffer.alloc(length, fill)])
}

/** A message in three parts with a ping between them, among messages of one frame. */
const SENT = [
  frame(0), frame(5), frame(300, { opcode: 2 }), frame(10, { fin: false, fill: 'a' }), frame(200, { opcode: 0, fin: false, fill: 'b' }),
  frame(4, { opcode: 9 }), frame(70_000, { opcode: 0, fill: 'c' }), frame(20, { masked: false }),
]
const BYTES = Buffer.concat(SENT)
const ENDS = SENT.map((_, i) => SENT.slice(0, i + 1).reduce((sum, { length }) => sum + length, 0))

function cut(bytes: Buffer, size: () => number): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = size()
    chunks.push(Buffer.from(bytes.subarray(at, at + length)))
    at += length
  }
  return chunks
}

describe('frames', () => {
  it.each([
    ['byte by byte', (): number => 1],
    ['in pieces', (): number => randomInt(1, 400)],
    ['whole', (): number => BYTES.length],
  ] as const)('are given whole and in order, however they come: %s', (_how, size) => {
    const frames = new Frames(100_000)
    const given: Buffer[] = []
    let at = 0
    for (const chunk of cut(BYTES, size)) {
      const whole: Uint8Array | undefined = frames.push(chunk)
      if (whole === undefined) continue
      at += whole.length
      expect(ENDS).toContain(at)
      given.push(Buffer.from(whole))
    }
    expect(Buffer.concat(given).equals(BYTES)).toBe(true)
  })

  it.each([
    ['in pieces', (): number => 97],
    ['frame by frame', (): number => 0],
  ] as const)('the parts of a message, and chunks that were put together, are overwritten once it was given: %s', (how, size) => {
    const frames = new Frames(100_000)
    const sent = SENT.slice(3, 7)
    const chunks = how === 'frame by frame' ? sent.map((bytes) => Buffer.from(bytes)) : cut(Buffer.concat(sent), size)
    const given: Uint8Array[] = []
    for (const chunk of chunks) {
      const whole: Uint8Array | undefined = frames.push(chunk)
      if (whole === undefined) continue
      given.push(whole)
      // Until the last frame they are wanted.
      const ended: boolean = Buffer.from(whole).includes('c')
      if (!ended && given.length === 1) expect(Buffer.from(whole).includes('aaaa')).toBe(true)
      frames.clear()
    }
    for (const letter of ['aaaa', 'bbbb', 'cccc']) {
      expect(given.some((bytes) => Buffer.from(bytes).includes(letter))).toBe(false)
      expect(chunks.some((chunk) => chunk.includes(letter))).toBe(false)
    }
  })

  it('a message of one frame is the receiver’s to overwrite', () => {
    const frames = new Frames(1_000)
    const whole = frames.push(frame(300))!
    frames.clear()
    expect(Buffer.from(whole).includes('xxxx')).toBe(true)
  })

  it('what is longer than it may be is given at once, as it comes', () => {
    const frames = new Frames(1_000)
    const long = frame(1_001)
    expect(frames.push(long.subarray(0, 1))).toBeUndefined()
    expect(frames.push(long.subarray(1, 50))?.length).toBe(50)
    expect(frames.push(long.subarray(50, 60))?.length).toBe(10)
  })

  it('what did not come to its end is overwritten at the end', () => {
    const frames = new Frames(1_000)
    const [part, half] = [frame(50, { fin: false }), frame(100, { opcode: 0 }).subarray(0, 60)]
    const whole = frames.push(part)!
    expect(frames.push(half)).toBeUndefined()
    frames.end()
    for (const bytes of [whole, half]) expect(Buffer.from(bytes).includes('xxxx')).toBe(false)
  })
})
