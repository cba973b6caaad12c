import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
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

describe('LineDecoder', () => {
  it.each([
    ['reads one line', 'a;b\n', ['a;b']],
    ['reads several lines, an empty one too', '7\n8;x\n\n', ['7', '8;x', '']],
    ['ignores one CR before the LF', 'a\r\n', ['a']],
    ['ignores only one CR', 'a\r\r\n', ['a\r']],
    ['keeps a CR elsewhere', 'a\rb\n', ['a\rb']],
    ['returns nothing for an unfinished line', 'abc', []],
    ['accepts a line of exactly the limit', `${'x'.repeat(LIMIT)}\n`, ['x'.repeat(LIMIT)]],
    ['accepts a line of exactly the limit with CR', `${'x'.repeat(LIMIT)}\r\n`, ['x'.repeat(LIMIT)]],
    ['refuses a line one byte over the limit', `ok\n${'x'.repeat(LIMIT + 1)}\n`, ['ok', 'too-large']],
    ['refuses a line over the limit before it ends', 'x'.repeat(LIMIT + 1), ['too-large']],
    ['refuses a line that two CRs put over the limit', `${'x'.repeat(LIMIT)}\r\r`, ['too-large']],
  ])('%s', (_name, text, expected) => {
    expect(readAll(new LineDecoder(), [bytes(text)])).toEqual(expected)
  })

  it('reads the same lines from whole input, from chunks and byte by byte', () => {
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

  it.each([
    ['a line of exactly the limit', `${'x'.repeat(LIMIT)}\n`, ['x'.repeat(LIMIT)]],
    ['a line of exactly the limit that ends with CR LF', `${'x'.repeat(LIMIT)}\r\n`, ['x'.repeat(LIMIT)]],
    ['a line of one byte more', `${'x'.repeat(LIMIT + 1)}\n`, ['too-large']],
    ['a line of one byte more that ends with CR LF', `${'x'.repeat(LIMIT + 1)}\r\n`, ['too-large']],
  ])('reads %s, wherever it is cut', (_name, text, expected) => {
    for (let cut = 1; cut < text.length; cut++) {
      expect([cut, readAll(new LineDecoder(), [bytes(text.slice(0, cut)), bytes(text.slice(cut))])]).toEqual([cut, expected])
    }
  })

  it('finds a packet again that was put back, wherever it is cut', () => {
    const text = 'first\nsecond\nthird\n'
    for (let cut = 0; cut <= text.length; cut++) {
      const decoder = new LineDecoder()
      const read: string[] = []
      for (const part of [text.slice(0, cut), text.slice(cut)]) {
        decoder.push(bytes(part))
        while (decoder.find(LIMIT) === 'found') {
          const once = Buffer.from(decoder.found.view()).toString()
          decoder.putBack()
          decoder.giveBack()
          expect(decoder.find(LIMIT)).toBe('found')
          expect(Buffer.from(decoder.found.view()).toString()).toBe(once)
          read.push(once)
        }
        decoder.giveBack()
      }
      expect([cut, read]).toEqual([cut, ['first', 'second', 'third']])
    }
  })

  it('overwrites the unread chunks when it is cleared', () => {
    const decoder = new LineDecoder()
    const chunks = ['first', 'second\n', 'third'].map(bytes)
    for (const chunk of chunks) decoder.push(chunk)
    decoder.clear()
    expect(chunks.every((chunk) => chunk.every((byte) => byte === 0))).toBe(true)
    expect([decoder.held, decoder.memory]).toEqual([0, 0])
  })

  it('overwrites the memory of an unfinished line that it outgrew', () => {
    const decoder = new LineDecoder()
    const fill = vi.spyOn(Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array, 'fill')
    onTestFinished(() => fill.mockRestore())
    decoder.push(bytes('x'.repeat(200)))
    expect(decoder.next(1_000)).toBeUndefined()
    const { memory } = decoder
    decoder.push(bytes('x'.repeat(100)))
    expect(decoder.next(1_000)).toBeUndefined()
    expect(decoder.memory).toBeGreaterThan(memory)
    expect(fill.mock.contexts.filter((filled) => (filled as Uint8Array).length === memory)).toHaveLength(1)
  })

  it('overwrites chunks after their lines are read, and counts and clears the carried bytes', () => {
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
  ['LineDecoder', (): PacketSource => new LineDecoder(), (packets: string[]) => packets.map((packet) => bytes(`${packet}\n`))],
  ['MessageDecoder', (): PacketSource => new MessageDecoder(), (packets: string[]) => packets.map(bytes)],
])('%s.giveBack', (_name, createSource, frame) => {
  const packets = fc.array(fc.stringMatching(/^[ab;]{0,24}$/), { maxLength: 12 })

  it('overwrites the chunk and loses no packet, however many packets were read before', () => {
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

describe('MessageDecoder', () => {
  it('reads one packet from each message and removes no bytes', () => {
    expect(readAll(new MessageDecoder(), [bytes('7'), bytes('a\nb'), bytes('x'.repeat(LIMIT + 1))])).toEqual(['7', 'a\nb', 'too-large'])
  })

  it('overwrites a message after it is read', () => {
    const message = bytes('secret')
    const decoder = new MessageDecoder()
    decoder.push(message)
    decoder.next(LIMIT)
    decoder.next(LIMIT)
    expect([...message]).toEqual([0, 0, 0, 0, 0, 0])
  })
})
