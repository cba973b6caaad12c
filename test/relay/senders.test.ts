/** Sending limits and seniority when memory is short. Times are in ms, sizes in bytes. */
import { describe, expect, it } from 'vitest'
import { MOST_KEYS, Senders } from '../../src/relay/senders.ts'

const PER_SENDER = 3_600
const HOUR = 3_600_000
const DAY = 24 * HOUR

function create(): { senders: Senders; memory: { used: number } } {
  const memory = { used: 0 }
  return { senders: new Senders(PER_SENDER, () => memory.used), memory }
}

describe('a newcomer', () => {
  it('may fill half of the memory, and a senior key all of it', () => {
    const { senders } = create()
    senders.onKey('alice', 0)
    expect(senders.share('alice')).toBe(0.5)
    senders.sweep(HOUR - 1)
    expect(senders.share('alice')).toBe(0.5)
    senders.sweep(HOUR)
    senders.onKey('mallory', HOUR)
    expect([senders.share('alice'), senders.share('mallory'), senders.share('nobody')]).toEqual([1, 0.5, 0.5])
  })

  it('does not become senior while memory is short, however long the shortage lasts', () => {
    const { senders, memory } = create()
    senders.onKey('mallory', 0)
    memory.used = 0.51
    senders.sweep(20 * HOUR)
    expect(senders.share('mallory')).toBe(0.5)
    memory.used = 0.5
    senders.sweep(20 * HOUR)
    expect(senders.share('mallory')).toBe(1)
  })
})

describe('the sending limit', () => {
  it.each([
    [0, 3_600],
    [0.5, 3_600],
    [0.75, 1_800],
    [0.9, 720],
    [1, 57],
  ])('with %d of the memory used is %i bytes of 3,600', (used, most) => {
    const { senders, memory } = create()
    memory.used = used
    expect(senders.wait(senders.bucketOf('alice', 0), most, 0)).toBe(0)
    expect(senders.wait(senders.bucketOf('alice', 0), most + 1, 0)).toBe(1)
  })

  it('is used up sooner by a key that sent much than by one that sent little', () => {
    const { senders, memory } = create()
    senders.bucketOf('loud', 0).take(2_000)
    senders.bucketOf('quiet', 0).take(100)
    memory.used = 0.75
    expect(senders.wait(senders.bucketOf('quiet', 0), 100, 0)).toBe(0)
    expect(senders.wait(senders.bucketOf('loud', 0), 100, 0)).toBe(300)
  })
})

describe('keys in memory', () => {
  it('are forgotten a day after their last use', () => {
    const { senders } = create()
    senders.onKey('alice', 0)
    senders.sweep(HOUR)
    senders.onKey('alice', 2 * HOUR)
    senders.sweep(2 * HOUR + DAY - 1)
    expect(senders.size).toBe(1)
    senders.sweep(2 * HOUR + DAY)
    expect(senders.size).toBe(0)
  })

  it('are kept for longer than a day if their limit is not restored by then', () => {
    const { senders } = create()
    const bucket = senders.bucketOf('alice', 0)
    bucket.take(PER_SENDER * 30)
    senders.sweep(DAY)
    expect(senders.size).toBe(1)
    senders.sweep(30 * HOUR)
    expect(senders.size).toBe(0)
  })

  it('keep what they sent if the operator changes their limit', () => {
    let quota: number | undefined
    const senders = new Senders(
      PER_SENDER,
      () => 0,
      () => quota,
    )
    senders.bucketOf('alice', 0).take(1_000)
    quota = 7_200
    expect(senders.wait(senders.bucketOf('alice', 0), 6_200, 0)).toBe(0)
    expect(senders.wait(senders.bucketOf('alice', 0), 6_201, 0)).toBe(1)
    quota = 500
    expect(senders.wait(senders.bucketOf('alice', 0), 1, 0)).toBeGreaterThan(0)
    quota = 7_200
    expect(senders.wait(senders.bucketOf('alice', 0), 6_700, 0)).toBe(0)
  })

  it('are bounded, and a flood of fresh keys pushes out no senior key', () => {
    const { senders } = create()
    senders.onKey('alice', 0)
    senders.sweep(HOUR)
    for (let n = 0; n < 40_000; n++) senders.onKey(`fresh-${n}`, HOUR)
    expect(senders.size).toBe(MOST_KEYS + 1)
    expect(senders.share('alice')).toBe(1)
  })

  it('pass to the next relay: senior keys stay senior, and used limits stay used', () => {
    const { senders } = create()
    senders.onKey('alice', 0)
    senders.sweep(HOUR)
    senders.bucketOf('bob', HOUR).take(600)
    senders.onKey('carol', HOUR)
    const next = create().senders
    for (const spent of senders.spent(HOUR)) next.spend(spent, HOUR)
    expect([next.share('alice'), next.share('bob'), next.share('carol')]).toEqual([1, 1, 0.5])
    expect(next.wait(next.bucketOf('bob', HOUR), 3_001, HOUR)).toBe(1)
  })
})
