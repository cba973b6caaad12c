/** The rings of a messenger: one change after the other, stored before it counts, and aged once an hour. */
import { describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { Rings } from '../../../src/client/messenger/rings.ts'
import { EMPTY, type Given, type Held, type Ring, RING } from '../../../src/client/ring/state.ts'

const NOW = 1_795_000_000
const HOUR = 3_600_000
const BOB = `SHA256:${'B'.repeat(43)}`
const held = (time: number): Held => ({ place: { time, id: 'a', index: 0 }, recipient: hybridKey(randomBytes(32)).recipient })
const given = (time: number): Given => ({ place: { time, id: 'b', index: 0 }, seed: Uint8Array.from(randomBytes(32)), use: 'open' })

function make(stored?: Ring) {
  const saved: Ring[] = []
  const failures: Error[] = []
  const rings = new Rings({
    load: async () => stored,
    async save(_contact, ring) {
      const failure = failures.shift()
      if (failure !== undefined) throw failure
      saved.push(ring)
    },
    list: async () => [],
    remove: async () => {},
  })
  return { rings, saved, failures }
}

describe('a change of a ring', () => {
  test('begins with the stored ring, or an empty one, and follows the change before', async () => {
    const { rings, saved } = make()
    const stepped: Ring[] = []
    const step = (ring: Ring) => {
      stepped.push(ring)
      return { ring: { ...ring, known: true }, value: stepped.length }
    }
    expect(await Promise.all([rings.change(BOB, step), rings.change(BOB, step)])).toEqual([1, 2])
    expect(stepped[0]).toBe(EMPTY)
    expect(stepped[1]).toBe(saved[0])
    expect(rings.peek(BOB)).toBe(saved[1])
    const stored = { ...EMPTY, known: true }
    expect(await make(stored).rings.load(BOB)).toBe(stored)
  })

  test('has one copy of the seeds, however often the ring is asked for while it is read', async () => {
    let reads = 0
    const store = { save: async () => {}, list: async () => [], remove: async () => {} }
    const rings = new Rings({ ...store, load: async () => ({ ...EMPTY, given: [given(NOW + reads++)] }) })
    const [one, other] = await Promise.all([rings.load(BOB), rings.load(BOB)])
    expect(one).toBe(other)
    expect(reads).toBe(1)
  })

  test('leaves nothing in memory if the ring is erased while it is read, or cannot be read', async () => {
    const kept = given(NOW)
    let stored: Ring | undefined = { ...EMPTY, given: [kept] }
    const rings = new Rings({
      save: async () => {},
      list: async () => [],
      async load() {
        const ring = stored
        for (let turn = 0; turn < 10; turn++) await Promise.resolve()
        return ring
      },
      remove: async () => void (stored = undefined),
    })
    const loading = rings.load(BOB)
    await rings.remove(BOB)
    await loading
    expect(rings.peek(BOB)).toBeUndefined()
    expect(kept.seed).toEqual(new Uint8Array(32))
    let wasRemoved = false
    const damaged = new Rings({
      save: async () => {},
      list: async () => [],
      load: async () => Promise.reject(new Error('damaged')),
      remove: async () => void (wasRemoved = true),
    })
    await damaged.remove(BOB)
    expect(wasRemoved).toBe(true)
  })

  test('is stored only if it gives another ring, and overwrites the seeds that it erased', async () => {
    const { rings, saved } = make()
    const { seed } = given(NOW)
    expect(await rings.change(BOB, () => undefined)).toBeUndefined()
    expect(await rings.change(BOB, (ring) => ({ ring, value: 1 }))).toBe(1)
    expect(saved).toEqual([])
    await rings.change(BOB, (ring) => ({ ring: { ...ring }, erased: [seed], value: undefined }))
    expect([saved.length, seed.every((byte) => byte === 0)]).toEqual([1, true])
  })

  test('does not count if the store fails: the seeds stay, and the next change begins with the ring before', async () => {
    const { rings, failures } = make()
    const { seed } = given(NOW)
    failures.push(new Error('the disk is full'))
    const change = rings.change(BOB, (ring) => ({ ring: { ...ring, known: true }, erased: [seed], value: undefined }))
    await expect(change).rejects.toThrow('the disk is full')
    expect([rings.peek(BOB), seed.some((byte) => byte !== 0)]).toEqual([EMPTY, true])
    await rings.change(BOB, (ring) => {
      expect(ring).toBe(EMPTY)
      return undefined
    })
  })
})

describe('ageing', () => {
  test.each<readonly [what: string, ring: Partial<Ring>]>([
    ['a given key', { given: [given(NOW - RING.life)] }],
    ['a held key', { held: [held(NOW - RING.life)] }],
    ['the key that was used last', { last: held(NOW - RING.life) }],
    ['a payload that no key opened', { unread: new Map([['tag', { time: NOW - RING.kept, reported: true }]]) }],
    ['a report without a payload', { reportAt: NOW }],
    ['a run that waits for a message', { runs: [{ id: 'b', after: 'a', since: NOW - RING.usable }] }],
  ])('is stored if it changed %s', async (_what, ring) => {
    const { rings, saved } = make({ ...EMPTY, ...ring })
    await rings.load(BOB)
    await rings.tick(NOW * 1_000)
    expect(saved).toHaveLength(1)
  })

  test('erases the key that was used last after its mark, and stores that', async () => {
    const { rings, saved } = make({ ...EMPTY, last: { ...held(NOW - RING.life), mark: NOW - RING.grace } })
    await rings.load(BOB)
    await rings.tick(NOW * 1_000)
    expect(saved.map(({ last }) => last)).toEqual([undefined])
  })

  test('is not stored if it changed nothing', async () => {
    const young = { given: [given(NOW)], held: [held(NOW)], last: held(NOW), runs: [{ id: 'b', after: 'a', since: NOW }] }
    const waiting = { unread: new Map([['tag', { time: NOW, reported: false }]]), reportAt: NOW }
    for (const ring of [EMPTY, { ...EMPTY, ...young, ...waiting }]) {
      const { rings, saved } = make(ring)
      await rings.load(BOB)
      await rings.tick(NOW * 1_000)
      expect(saved).toEqual([])
      expect([...rings.all()]).toEqual([[BOB, ring]])
    }
  })

  test('happens once an hour, also if the clock is set back, and never without a ring', async () => {
    const { rings } = make()
    expect(rings.due(0)).toBe(Infinity)
    await rings.load(BOB)
    expect(rings.due(0)).toBe(0)
    await rings.tick(10 * HOUR)
    expect([rings.due(10 * HOUR), rings.due(5 * HOUR)]).toEqual([11 * HOUR, 6 * HOUR])
    await rings.tick(11 * HOUR - 1)
    expect(rings.due(11 * HOUR - 1)).toBe(11 * HOUR)
    await rings.tick(11 * HOUR)
    expect(rings.due(11 * HOUR)).toBe(12 * HOUR)
    await rings.tick(5 * HOUR)
    expect(rings.due(5 * HOUR)).toBe(6 * HOUR)
  })
})

test('a report is due at its second', async () => {
  const { rings } = make({ ...EMPTY, reportAt: NOW })
  expect(rings.reportDue()).toBe(Infinity)
  await rings.load(BOB)
  expect(rings.reportDue()).toBe(NOW * 1_000)
  expect([rings.reporting(NOW * 1_000 - 1), rings.reporting(NOW * 1_000)]).toEqual([[], [BOB]])
})
