import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LineDecoder, MessageDecoder, type PacketSource } from '../../src/protocol/line.ts'
import { chunksOf } from '../support/chunks.ts'

const LIMIT = 24

function readAll(source: PacketSource, chunks: Uint8Array[], limit = LIMIT): string[] {
  const read: string[] = []
  for (const chunk of chunks) {
    source.push(chunk)
    for (;;) {
      const line = source.next(limit)
      if (line === undefined) break
      if (line === 'too-large') return [...read, 'too-large']
      read.push(Buffer.from(line).toString('latin1'))
    }
  }
  return read
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

describe('lines', () => {
  it.each([
    ['one', 'a;b\n', ['a;b']],
    ['several', '7\n8;x\n\n', ['7', '8;x', '']],
    ['one CR before the LF is ignored', 'a\r\n', ['a']],
    ['only one CR', 'a\r\r\n', ['a\r']],
    ['a CR elsewhere stays', 'a\rb\n', ['a\rb']],
    ['an unfinished line is nothing yet', 'abc', []],
    ['a line of the limit', `${'x'.repeat(LIMIT)}\n`, ['x'.repeat(LIMIT)]],
    ['a line of the limit with CR', `${'x'.repeat(LIMIT)}\r\n`, ['x'.repeat(LIMIT)]],
    ['one byte over', `ok\n${'x'.repeat(LIMIT + 1)}\n`, ['ok', 'too-large']],
    ['endless, refused before it ends', 'x'.repeat(LIMIT + 1), ['too-large']],
    ['two CRs over', `${'x'.repeat(LIMIT)}\r\r`, ['too-large']],
  ])('%s', (_name, text, expected) => {
    expect(readAll(new LineDecoder(), [bytes(text)])).toEqual(expected)
  })

  it('mean the same whole, in chunks and byte by byte', () => {
    const text = fc.stringMatching(/^([ab;\r]{0,27}\n){0,6}[ab\r]{0,27}$/)
    fc.assert(
      fc.property(text, fc.infiniteStream(fc.integer({ min: 1, max: 9 })), (all, cuts) => {
        const whole = readAll(new LineDecoder(), [bytes(all)])
        expect(readAll(new LineDecoder(), chunksOf(bytes(all), cuts))).toEqual(whole)
        expect(
          readAll(
            new LineDecoder(),
            [...bytes(all)].map((byte) => Uint8Array.of(byte)),
          ),
        ).toEqual(whole)
      }),
      { numRuns: 500 },
    )
  })

  it('overwrites chunks once they were read, and what it carried', () => {
    const chunks = [bytes('sec'), bytes('ret\nmore'), bytes('\nrest')]
    const decoder = new LineDecoder()
    const views: Uint8Array[] = []
    for (const chunk of chunks) {
      decoder.push(chunk)
      for (let line = decoder.next(LIMIT); line !== undefined; line = decoder.next(LIMIT)) views.push(line as Uint8Array)
    }
    expect(chunks.map((chunk) => chunk.every((byte) => byte === 0))).toEqual([true, true, true])
    expect(views.every((view) => view.every((byte) => byte === 0))).toBe(true)
    expect(decoder.held).toBe(4)
    decoder.clear()
    expect(decoder.held).toBe(0)
  })
})

describe.each([
  ['lines', (): PacketSource => new LineDecoder(), (packets: string[]) => packets.map((packet) => bytes(`${packet}\n`))],
  ['messages', (): PacketSource => new MessageDecoder(), (packets: string[]) => packets.map(bytes)],
])('%s that are given back', (_name, createSource, frame) => {
  const packets = fc.array(fc.stringMatching(/^[ab;]{0,24}$/), { maxLength: 12 })

  it('mean the same, however many of their packets were read before', () => {
    const reads = fc.infiniteStream(fc.integer({ min: 0, max: 3 }))
    const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 40 }))
    fc.assert(
      fc.property(packets, reads, cuts, (all, many, lengths) => {
        const source = createSource()
        const read: string[] = []
        const next = (): boolean => {
          const packet = source.next(LIMIT)
          if (packet !== undefined) read.push(Buffer.from(packet as Uint8Array).toString('latin1'))
          return packet !== undefined
        }
        const framed = frame(all)
        const chunks = source instanceof LineDecoder ? chunksOf(Buffer.concat(framed), lengths) : framed
        for (const chunk of chunks) {
          source.push(chunk)
          for (let left = many.next().value!; left > 0 && next(); left--);
          source.giveBack()
          expect(chunk.every((byte) => byte === 0)).toBe(true)
        }
        while (next());
        expect(read).toEqual(all)
        expect(source.held).toBe(0)
      }),
      { numRuns: 300 },
    )
  })
})

describe('messages', () => {
  it('are a packet each, with nothing cut off', () => {
    expect(readAll(new MessageDecoder(), [bytes('7'), bytes('a\nb'), bytes('x'.repeat(LIMIT + 1))])).toEqual(['7', 'a\nb', 'too-large'])
  })

  it('are overwritten once read', () => {
    const message = bytes('secret')
    const decoder = new MessageDecoder()
    decoder.push(message)
    decoder.next(LIMIT)
    decoder.next(LIMIT)
    expect([...message]).toEqual([0, 0, 0, 0, 0, 0])
  })
})
