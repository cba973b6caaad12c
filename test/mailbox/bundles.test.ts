import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BUNDLE_BYTES } from '../../src/mailbox/bundles.ts'
import { LABEL_BYTES, MAILBOX_BYTES, MemoryMailboxes } from '../../src/mailbox/mailbox.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import type { Subscriber } from '../../src/protocol/ports.ts'

const HELD = DEFAULT_LIMITS.bundleSeconds * 1_000
const STEP = 4_096
const create = (budget = 2 ** 20): MemoryMailboxes => new MemoryMailboxes({ limits: DEFAULT_LIMITS, budget, randomBytes })
const bundle = (size: number, character = 'A'): Buffer => Buffer.alloc(size, character)
const textOf = (mailboxes: MemoryMailboxes, id: string, now = 0): string | undefined => mailboxes.bundle(id, now)?.toString()
const nothing = (): void => {}
const subscriber = (owner: number): Subscriber => ({ owner, onWaiting: nothing, onTakenOver: nothing })

describe('a bundle', () => {
  it('is there until it is replaced, taken down or wiped, and is overwritten then', () => {
    const mailboxes = create()
    const published = (): Buffer => {
      expect(mailboxes.publish('m', bundle(8), 0, 1)).toBe(true)
      return mailboxes.bundle('m', 0)!
    }
    const ends: readonly (() => unknown)[] = [
      () => mailboxes.publish('m', bundle(8, 'B'), 0, 1),
      () => mailboxes.unpublish('m'),
      () => mailboxes.wipe('m'),
      () => mailboxes.eraseExcept((id) => id !== 'm'),
      () => mailboxes.eraseAll(),
      () => mailboxes.expire(HELD),
    ]
    for (const end of ends) {
      const bytes = published()
      expect(bytes.toString()).toBe('AAAAAAAA')
      end()
      expect(bytes.every((byte) => byte === 0)).toBe(true)
    }
    expect(mailboxes.size).toMatchObject({ bundles: 0, bytes: 0 })
  })

  it('is copied, and belongs to one mailbox', () => {
    const mailboxes = create()
    const bytes = bundle(8)
    mailboxes.publish('m', bytes, 0, 1)
    bytes.fill(0)
    expect([textOf(mailboxes, 'm'), textOf(mailboxes, 'n')]).toEqual(['AAAAAAAA', undefined])
  })

  it('is held for 14 days after the last PUBLISH, to the millisecond', () => {
    const mailboxes = create()
    mailboxes.publish('first', bundle(4), 0, 1)
    mailboxes.publish('second', bundle(4), 5, 1)
    mailboxes.publish('first', bundle(4), 10, 1)
    expect(textOf(mailboxes, 'second', HELD + 4)).toBe('AAAA')
    expect(textOf(mailboxes, 'second', HELD + 5)).toBeUndefined()
    expect(textOf(mailboxes, 'first', HELD + 9)).toBe('AAAA')
    expect(textOf(mailboxes, 'first', HELD + 10)).toBeUndefined()
  })

  it('does not count as a message of its mailbox, and WIPE does not count it', () => {
    const mailboxes = create()
    mailboxes.publish('m', bundle(4), 0, 1)
    mailboxes.put('m', bundle(4), 0)
    expect(mailboxes.size).toMatchObject({ mailboxes: 1, messages: 1, bundles: 1 })
    expect(mailboxes.wipe('m')).toBe(1)
    expect(mailboxes.size).toMatchObject({ mailboxes: 0, messages: 0, bundles: 0, bytes: 0 })
  })

  it('counts in steps, and all of them take an eighth of the budget at most', () => {
    const mailboxes = create(8 * 3 * (STEP + BUNDLE_BYTES))
    for (const id of ['a', 'b', 'c']) expect(mailboxes.publish(id, bundle(4), 0, 1)).toBe(true)
    expect(mailboxes.size.bytes).toBe(3 * (STEP + BUNDLE_BYTES))
    expect(mailboxes.publish('d', bundle(4), 0, 1)).toBe(false)
    // One that replaces its predecessor keeps its place, and one that does not fit leaves its predecessor.
    expect(mailboxes.publish('a', bundle(STEP, 'B'), 0, 1)).toBe(true)
    expect(mailboxes.publish('a', bundle(STEP + 4, 'C'), 0, 1)).toBe(false)
    expect(textOf(mailboxes, 'a')).toBe('B'.repeat(STEP))
    mailboxes.unpublish('b')
    expect(mailboxes.publish('a', bundle(STEP + 4, 'C'), 0, 1)).toBe(true)
  })

  it('counts against the memory budget, and against the part of a newcomer', () => {
    const mailboxes = create()
    while (mailboxes.used < 0.51) mailboxes.put(`${mailboxes.size.messages}`, bundle(1_000), 0)
    expect(mailboxes.publish('m', bundle(4), 0, 0.5)).toBe(false)
    expect(mailboxes.publish('m', bundle(4), 0, 1)).toBe(true)
    while (!('refused' in mailboxes.put(`${mailboxes.size.messages}`, bundle(1_000), 0)));
    expect(mailboxes.publish('n', bundle(4), 0, 1)).toBe(false)
  })

  it('may fill the memory to the last byte, and a full relay takes one that is no longer than the one before', () => {
    const put = (mailboxes: MemoryMailboxes): unknown => mailboxes.put('m', bundle(1_000), 0)
    const filled = create()
    put(filled)
    const { bytes } = filled.size
    const cost = BUNDLE_BYTES + STEP
    for (const [missing, fits] of [
      [0, true],
      [1, false],
    ] as const) {
      const mailboxes = create(8 * cost)
      put(mailboxes)
      expect(mailboxes.publish('m', bundle(4), 0, (bytes + cost - missing) / (8 * cost))).toBe(fits)
      if (!fits) continue
      // Nothing is free any more.
      expect(mailboxes.publish('m', bundle(8, 'B'), 0, bytes / (8 * cost))).toBe(true)
      expect(textOf(mailboxes, 'm')).toBe('BBBBBBBB')
    }
  })

  it('that another relay held for longer than this one would is held no longer than a new one', () => {
    const mailboxes = create()
    const held = { mailbox: 'm', id: { high: 0, low: 0 }, left: HELD + 1_000, payload: bundle(4) }
    expect(mailboxes.restoreBundle(held, 0)).toBe(true)
    expect([textOf(mailboxes, 'm', HELD - 1), textOf(mailboxes, 'm', HELD)]).toEqual(['AAAA', undefined])
  })

  it('is given in the order of expiry, and taken over with the rest of its time', () => {
    const [before, after] = [create(), create()]
    for (const [n, id] of ['a', 'b', 'a', 'c'].entries()) before.publish(id, bundle(4, `${n}`), n, 1)
    for (const held of before.heldBundles(100)) expect(after.restoreBundle(held, 1_000)).toBe(true)
    expect(['b', 'a', 'c'].map((id) => textOf(after, id, HELD))).toEqual(['1111', '2222', '3333'])
    expect(['b', 'a', 'c'].map((id) => textOf(after, id, HELD + 902))).toEqual([undefined, undefined, '3333'])
  })
})

describe('readers', () => {
  const budget = 4 * 10 * MAILBOX_BYTES

  it('take a quarter of the budget at most with empty mailboxes', () => {
    const mailboxes = create(budget)
    for (let n = 0; n < 10; n++) expect(mailboxes.subscribe(`${n}`, subscriber(1))).toBe(0)
    expect(mailboxes.subscribe('more', subscriber(2))).toBeUndefined()
    // A newer subscriber of an open mailbox needs no memory, and neither does one of a mailbox with messages.
    expect(mailboxes.subscribe('0', subscriber(2))).toBe(0)
    mailboxes.put('full', bundle(4), 0)
    expect(mailboxes.subscribe('full', subscriber(2))).toBe(1)
    // A message in one of the empty ones makes room.
    const put = mailboxes.put('0', bundle(4), 0)
    expect(mailboxes.subscribe('more', subscriber(2))).toBe(0)
    expect(mailboxes.subscribe('and', subscriber(2))).toBeUndefined()
    if ('refused' in put) throw new Error(put.refused)
    mailboxes.ack('0', put.high, put.low)
    mailboxes.leave('0', 2)
    expect(mailboxes.subscribe('and', subscriber(2))).toBeUndefined()
    mailboxes.leave('1', 1)
    expect(mailboxes.subscribe('and', subscriber(2))).toBe(0)
  })

  it('take it with labels, too, and leave the rest to messages', () => {
    const mailboxes = create(budget)
    let labels = 0
    while (mailboxes.addLabel()) labels++
    expect(labels).toBe(Math.floor((10 * MAILBOX_BYTES) / LABEL_BYTES))
    expect(mailboxes.size.bytes).toBe(labels * LABEL_BYTES)
    // A relay that takes over needs no memory for them.
    expect(mailboxes.heldBytes).toBe(0)
    mailboxes.dropLabels(2)
    expect([mailboxes.addLabel(), mailboxes.subscribe('m', subscriber(1))]).toEqual([true, 0])
    expect(mailboxes.put('n', bundle(budget / 2), 0)).toHaveProperty('high')
  })

  it('are counted right after any sequence of subscriptions, messages and their ends', () => {
    const names = fc.constantFrom('a', 'b', 'c')
    const step = fc.record({ what: fc.constantFrom('subscribe', 'leave', 'put', 'wipe', 'expire'), id: names, owner: fc.nat(2) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const mailboxes = create(2 ** 22)
        let now = 0
        for (const { what, id, owner } of steps) {
          now += 1
          if (what === 'subscribe') mailboxes.subscribe(id, subscriber(owner + 1))
          else if (what === 'leave') mailboxes.leave(id, owner + 1)
          else if (what === 'put') mailboxes.put(id, bundle(4), now)
          else if (what === 'wipe') mailboxes.wipe(id)
          else mailboxes.expire((now += DEFAULT_LIMITS.holdSeconds * 1_000))
        }
        mailboxes.eraseAll()
        for (const id of ['a', 'b', 'c']) for (const owner of [1, 2, 3]) mailboxes.leave(id, owner)
        expect(mailboxes.size).toMatchObject({ mailboxes: 0, subscribers: 0, bytes: 0 })
        // All of the quarter is free again.
        const most = 2 ** 20 / MAILBOX_BYTES
        for (let n = 0; n < most; n++) expect(mailboxes.subscribe(`${n}`, subscriber(1))).toBe(0)
        expect(mailboxes.subscribe('more', subscriber(1))).toBeUndefined()
      }),
      { numRuns: 50 },
    )
  })
})
