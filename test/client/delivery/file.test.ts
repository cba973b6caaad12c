import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytesOf, FILE, type FileInfo, FileReceiving, FileSending, hashOf, Parts } from '../../../src/client/delivery/file.ts'
import { countParts, type FilePart, HAVE_RANGES, PART_BYTES } from '../../../src/client/format/content.ts'
import { memoryFile, sha256 } from '../../support/files.ts'

const ID = 'A'.repeat(22)

function infoOf(bytes: Uint8Array): FileInfo {
  return { file: ID, name: 'file.bin', total: bytes.length, hash: sha256(bytes) }
}

function partOf(bytes: Uint8Array, part: number, info = infoOf(bytes)): FilePart {
  return { type: 'file', ...info, part, bytes: part === 0 ? new Uint8Array(0) : bytes.slice((part - 1) * PART_BYTES, part * PART_BYTES) }
}

describe('parts', () => {
  test('match a plain set after any additions', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.array(fc.integer({ min: -2, max: 310 })), (count, list) => {
        const parts = new Parts(count)
        const set = new Set<number>()
        for (const part of list) {
          expect(parts.add(part)).toBe(part >= 1 && part <= count && !set.has(part))
          if (part >= 1 && part <= count) set.add(part)
        }
        expect(parts.size).toBe(set.size)
        expect(parts.isWhole).toBe(set.size === count)
        const again = new Parts(count)
        again.addAll(parts.ranges())
        for (let part = 1; part <= count; part++) expect(again.has(part)).toBe(set.has(part))
      }),
    )
  })

  test('report only a limited number of ranges', () => {
    const parts = new Parts(10_000)
    for (let part = 1; part <= 10_000; part += 2) parts.add(part)
    expect(parts.ranges()).toHaveLength(HAVE_RANGES)
  })

  test('clip ranges beyond the file without extra cost', () => {
    const parts = new Parts(10)
    parts.addAll([
      [5, Number.MAX_SAFE_INTEGER],
      [1, 1],
      [-5, 0],
    ])
    expect(parts.ranges()).toEqual([
      [1, 1],
      [5, 10],
    ])
  })

  test('count the bytes of a file with a short last part', () => {
    const parts = new Parts(3)
    const info = { total: 2 * PART_BYTES + 7 }
    parts.add(3)
    expect(bytesOf(info, parts)).toBe(7)
    parts.add(1)
    expect(bytesOf(info, parts)).toBe(PART_BYTES + 7)
    parts.add(2)
    expect(bytesOf(info, parts)).toBe(info.total)
  })

  test('count as one for an empty file', async () => {
    expect(countParts(0)).toBe(1)
    expect(await hashOf(1, async () => new Uint8Array(0))).toBe(sha256(new Uint8Array(0)))
  })
})

describe('FileSending', () => {
  test('offers the file again if the clock was set back far', () => {
    const sending = new FileSending(infoOf(randomBytes(10)))
    const now = 100 * FILE.offer[1]
    expect(sending.take(1, now)).toEqual([0])
    sending.onConfirmed(0, now)
    expect(sending.take(1, now)).toEqual([])
    expect(sending.take(1, now - FILE.offer[1] + FILE.offer[0])).toEqual([])
    expect(sending.take(1, 0)).toEqual([0])
  })

  const bytes = new Uint8Array(PART_BYTES * 40)

  test('sends an offer, then the parts that the receiver lacks, within a window', () => {
    const sending = new FileSending(infoOf(bytes))
    expect(sending.take(0, 0)).toEqual([0])
    expect(sending.take(0, 0)).toEqual([])
    sending.onHave([[1, 10]], 0)
    expect(sending.state).toBe('sending')
    expect(sending.confirmed).toBe(10 * PART_BYTES)
    expect(sending.take(0, 0)).toEqual(Array.from({ length: FILE.window }, (_, n) => n + 11))
    sending.onConfirmed(12, 0)
    expect(sending.take(0, 0)).toEqual([11 + FILE.window])
    for (let part = 11; part <= 40; part++) sending.onConfirmed(part, 0)
    expect(sending.confirmed).toBe(bytes.length)
    // It is done only once the receiver has checked the whole file.
    expect(sending.isSettled).toBe(false)
    sending.onHave('done', 0)
    expect(sending.state).toBe('done')
    expect(sending.take(0, 1e9)).toEqual([])
    sending.onHave('refused', 0)
    expect(sending.state).toBe('done')
  })

  test('repeats a confirmed offer without an answer in growing pauses', () => {
    const sending = new FileSending(infoOf(bytes))
    const pauses: number[] = []
    let now = 0
    for (let n = 0; n < 7; n++) {
      expect(sending.take(1, now)).toEqual([0])
      now += 5
      sending.onConfirmed(0, now)
      pauses.push(sending.due() - now)
      now = sending.due()
    }
    expect(pauses).toEqual([30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000])
  })

  test('sends only one offer to an absent receiver, however long the absence', () => {
    const sending = new FileSending(infoOf(bytes))
    expect(sending.take(0, 0)).toEqual([0])
    expect(sending.due()).toBe(Number.POSITIVE_INFINITY)
    expect(sending.take(0, 1e12)).toEqual([])
    // The offer has arrived, and the answer follows.
    sending.onConfirmed(0, 1e12)
    expect(sending.take(0, 1e12)).toEqual([])
    sending.onHave([[1, 39]], 1e12)
    expect(sending.take(0, 1e12)).toEqual([40])
  })

  test("asks for the receiver's state after the last part, and resends lost parts", () => {
    const sending = new FileSending(infoOf(bytes.subarray(0, 2 * PART_BYTES)))
    sending.take(0, 0)
    sending.onHave([], 0)
    expect(sending.take(0, 0)).toEqual([1, 2])
    sending.onConfirmed(1, 0)
    sending.onConfirmed(2, 1_000)
    expect(sending.take(0, 1_000)).toEqual([])
    expect(sending.due()).toBe(31_000)
    expect(sending.take(0, 31_000)).toEqual([0])
    expect(sending.take(0, 99_000)).toEqual([])
    sending.onHave([[2, 2]], 31_000)
    expect(sending.take(0, 31_000)).toEqual([1])
    // Each answer counts once: the earlier confirmations stay.
    sending.onConfirmed(1, 31_000)
    sending.onHave([], 31_000)
    expect(sending.take(0, 31_000)).toEqual([])
  })

  test('asks a silent receiver for its state, and resends only the parts that it lacks', () => {
    const sending = new FileSending(infoOf(bytes))
    sending.take(0, 0)
    sending.onHave([], 0)
    expect(sending.take(0, 0)).toHaveLength(FILE.window)
    sending.onConfirmed(1, 5_000)
    expect(sending.take(0, 34_999)).toEqual([FILE.window + 1])
    expect(sending.due()).toBe(35_000)
    expect(sending.take(0, 35_000)).toEqual([0])
    sending.onHave([[1, 20]], 36_000)
    // 21 to 25 are still under way.
    expect(sending.take(0, 36_000)).toEqual(Array.from({ length: 15 }, (_, n) => n + 26))
    expect(sending.due()).toBe(66_000)
  })

  test('stops if the receiver refuses the file', () => {
    const sending = new FileSending(infoOf(bytes))
    sending.take(0, 0)
    sending.onHave('refused', 0)
    expect(sending.take(0, 1e9)).toEqual([])
    expect(sending.due()).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('FileReceiving', () => {
  const bytes = new Uint8Array(randomBytes(PART_BYTES * 3 + 100))
  const info = infoOf(bytes)

  test('accepts parts in any order, writes each once, and finishes when all are there', async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([1, 1, 2, 2, 3, 4, 4], { minLength: 7 }), async (order) => {
        const file = memoryFile(info)
        const receiving = new FileReceiving(info, file.sink)
        const progress = await Promise.all(order.map((part) => receiving.take(partOf(bytes, part))))
        expect(progress.filter(({ answer }) => answer === 'done')).toHaveLength(1)
        expect(file.written.toSorted()).toEqual([1, 2, 3, 4])
        expect(file.outcome).toBe('finished')
        expect(Buffer.compare(file.bytes, bytes)).toBe(0)
      }),
      { numRuns: 20 },
    )
  })

  test('answers an offer with the parts that it has, also from an earlier run', async () => {
    const file = memoryFile(info, [[2, 3]], bytes.slice())
    const receiving = new FileReceiving(info, file.sink)
    expect(await receiving.take(partOf(bytes, 0))).toEqual({ state: 'receiving', answer: [[2, 3]], bytes: 2 * PART_BYTES })
    expect(await receiving.take(partOf(bytes, 1))).toEqual({ state: 'receiving', bytes: 3 * PART_BYTES })
    expect(await receiving.take(partOf(bytes, 4))).toEqual({ state: 'done', answer: 'done', bytes: bytes.length })
    expect(file.written).toEqual([1, 4])
    expect(await receiving.take(partOf(bytes, 0))).toMatchObject({ answer: 'done' })
    expect(await receiving.take(partOf(bytes, 1))).toEqual({ state: 'done', bytes: bytes.length })
  })

  test('discards the file if its hash does not match', async () => {
    const file = memoryFile(info)
    const receiving = new FileReceiving(info, file.sink)
    for (const part of [1, 2, 3]) await receiving.take(partOf(bytes, part))
    const last = { ...partOf(bytes, 4), bytes: new Uint8Array(100) }
    expect(await receiving.take(last)).toEqual({ state: 'damaged', answer: 'refused', bytes: 0 })
    expect(file.outcome).toBe('discarded')
    expect(await receiving.take(partOf(bytes, 4))).toEqual({ state: 'damaged', bytes: bytes.length })
    expect(file.written).toEqual([1, 2, 3, 4])
  })

  test('fails and closes the file if a part cannot be written', async () => {
    const file = memoryFile(info)
    let [broken, closed] = [true, 0]
    const sink = {
      ...file.sink,
      write: (part: number, content: Uint8Array) => (broken ? Promise.reject(new Error('no space')) : file.sink.write(part, content)),
      close: () => Promise.resolve(void closed++),
    }
    const receiving = new FileReceiving(info, sink)
    await expect(receiving.take(partOf(bytes, 1))).rejects.toThrow('no space')
    expect(closed).toBe(1)
    broken = false
    expect(await receiving.take(partOf(bytes, 0))).toMatchObject({ state: 'failed', answer: 'refused' })
    expect(await receiving.take(partOf(bytes, 1))).toMatchObject({ state: 'failed' })
    expect(file.written).toEqual([])
    await receiving.close()
    expect(closed).toBe(1)
  })

  test('finishes an empty file', async () => {
    const empty = infoOf(new Uint8Array(0))
    const file = memoryFile(empty)
    const receiving = new FileReceiving(empty, file.sink)
    expect(await receiving.take(partOf(new Uint8Array(0), 1, empty))).toEqual({ state: 'done', answer: 'done', bytes: 0 })
    expect(file.outcome).toBe('finished')
  })
})
