import { expect, test } from 'vitest'
import { Output, Stock } from '../../src/protocol/output.ts'
import { decodeFrames } from '../support/frames.ts'

test('frames encode each length in the fewest bytes and carry the same packets as lines', () => {
  const [lines, frames] = [new Output(new Stock(), 'line'), new Output(new Stock(), 'message')]
  const lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]
  for (const output of [lines, frames]) {
    for (const length of lengths) output.packet('x'.repeat(length))
    output.packetWithId(20, 0x0123_4567, 0xfedc_ba98, '604800')
    output.packetWithBytes(20, '', 0x0123_4567, 0xfedc_ba98, Buffer.from('xxQUJDxx'), 2, 6)
    output.packetWithBytes(21, 'a-1', 0x0123_4567, 0xfedc_ba98, Buffer.from('xxQUJDxx'), 2, 6)
    output.packetOfBytes(33, Buffer.from('QUJD'))
    output.packetOfBytes(33, undefined)
  }
  const expected = [
    ...lengths.map((length) => 'x'.repeat(length)),
    '20;01234567fedcba98;604800',
    '20;01234567fedcba98;QUJD',
    '21;a-1;01234567fedcba98;QUJD',
    '33;QUJD',
    '33',
  ]
  const [inLines, inFrames] = [lines.take(), frames.take()]
  expect(Buffer.from(inLines).toString()).toBe(expected.map((packet) => `${packet}\n`).join(''))
  const decoded = decodeFrames(inFrames)
  expect(decoded.rest).toHaveLength(0)
  expect(decoded.frames.map(({ opcode, payload }) => [opcode, payload.toString()])).toEqual(expected.map((packet) => [1, packet]))
  const heads = lengths.reduce((sum, length) => sum + (length < 126 ? 2 : length < 65_536 ? 4 : 10), 5 * 2)
  expect(inFrames).toHaveLength(heads + expected.join('').length)
  // `written` must overwrite the whole chunk, frame heads included.
  for (const output of [lines, frames]) output.written()
  for (const bytes of [inLines, inFrames]) expect(bytes.every((byte) => byte === 0)).toBe(true)
})

test('output that grows leaves nothing in the buffer before', () => {
  const stock = new Stock()
  const output = new Output(stock, 'line')
  output.packet('x'.repeat(500))
  output.packet('y'.repeat(900))
  // The smaller buffer is back in the stock.
  const former = stock.take(1_024)
  expect(former.subarray(0, 501).every((byte) => byte === 0)).toBe(true)
  expect(Buffer.from(output.take()).toString()).toBe(`${'x'.repeat(500)}\n${'y'.repeat(900)}\n`)
})

test('a stock keeps 32 unused buffers of each size, and none of another size', () => {
  const stock = new Stock()
  const buffers = Array.from({ length: 33 }, () => stock.take(1_000))
  for (const buffer of buffers) stock.give(buffer, buffer.length)
  const again = Array.from({ length: 33 }, () => stock.take(1_000))
  expect(again.filter((buffer) => buffers.includes(buffer))).toHaveLength(32)
  const large = stock.take(200_000)
  stock.give(large, large.length)
  expect(stock.take(200_000)).not.toBe(large)
})
