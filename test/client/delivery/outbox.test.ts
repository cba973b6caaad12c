import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OUTBOX, type OutboxEntry, type OutboxTask } from '../../../src/client/delivery/entry.ts'
import { Outbox } from '../../../src/client/delivery/outbox.ts'

const BOB = `SHA256:${'b'.repeat(43)}`
const CAROL = `SHA256:${'c'.repeat(43)}`
const DAY = 86_400_000

function entry(id: string, more: Partial<OutboxEntry> = {}): OutboxEntry {
  return { id, to: BOB, relays: ['one', 'two'], payload: new Uint8Array(8), time: 0, deadline: 7 * DAY, confirm: true, held: [], ...more }
}

function outboxOf(...ids: readonly string[]): Outbox {
  const outbox = new Outbox()
  for (const id of ids) expect(outbox.add(entry(id))).toBe(true)
  return outbox
}

const short = (tasks: readonly OutboxTask[]): string[] =>
  tasks.map((task) => (task.kind === 'send' ? `${task.id} to ${task.relay}` : `look at ${task.relay}`))
const take = (outbox: Outbox, now: number): string[] => short(outbox.take(now))
const sent = (outbox: Outbox, ids: readonly string[], relay: string, now = 0): unknown[] =>
  ids.map((id) => outbox.onSent(id, relay, 604_800, now)?.state)

describe('the way of a message', () => {
  test('to the first relay, held there, delivered, read', () => {
    const outbox = outboxOf('a', 'b')
    expect(outbox.last(BOB)).toBe('b')
    expect(take(outbox, 0)).toEqual(['a to one', 'b to one'])
    expect(outbox.busy).toBe(true)
    expect(take(outbox, 0)).toEqual([])
    expect(sent(outbox, ['a', 'b'], 'one')).toEqual(['held', 'held'])
    expect(outbox.busy).toBe(false)
    expect(outbox.onReceipt(BOB, ['b', 'a'], 'delivered')).toEqual([
      { id: 'b', to: BOB, state: 'delivered' },
      { id: 'a', to: BOB, state: 'delivered' },
    ])
    expect(outbox.size).toBe(0)
    expect(outbox.onReceipt(BOB, ['a'], 'delivered')).toEqual([])
    expect(outbox.onReceipt(BOB, ['a'], 'read')).toEqual([{ id: 'a', to: BOB, state: 'read' }])
    expect(outbox.onReceipt(BOB, ['a'], 'read')).toEqual([])
  })

  test('a receipt by anybody else, or of what was never sent, is none', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    expect(outbox.onReceipt(CAROL, ['a'], 'delivered')).toEqual([])
    expect(outbox.onReceipt(CAROL, ['a'], 'read')).toEqual([])
    expect(outbox.onReceipt(BOB, ['x', '__proto__'], 'read')).toEqual([])
    expect(outbox.size).toBe(1)
    outbox.onReceipt(BOB, ['a'], 'delivered')
    expect(outbox.onReceipt(CAROL, ['a'], 'read')).toEqual([])
  })

  test('so many are under way to one relay and no more', () => {
    const ids = Array.from({ length: OUTBOX.window + 2 }, (_, n) => `${n}`)
    const outbox = outboxOf(...ids)
    expect(take(outbox, 0)).toHaveLength(OUTBOX.window)
    sent(outbox, ['0'], 'one')
    expect(take(outbox, 0)).toEqual([`${OUTBOX.window} to one`])
  })

  test('it is given up at its deadline, and its last state says how far it came', () => {
    const outbox = outboxOf('a', 'b')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    expect(outbox.expire(7 * DAY - 1)).toEqual([])
    expect(outbox.due(0)).toBeLessThanOrEqual(7 * DAY)
    expect(outbox.expire(7 * DAY)).toEqual([
      { id: 'a', to: BOB, state: 'expired' },
      { id: 'b', to: BOB, state: 'expired' },
    ])
    // The answer that comes after it changes nothing.
    expect(sent(outbox, ['b'], 'one')).toEqual([undefined])
    expect(outbox.due(0)).toBe(Number.POSITIVE_INFINITY)
  })

  test('what nobody confirms is done when a relay took it', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { confirm: false }))
    take(outbox, 0)
    expect(sent(outbox, ['a'], 'one')).toEqual(['held'])
    expect(outbox.size).toBe(0)
  })

  test('it is bounded', () => {
    const outbox = new Outbox()
    for (let n = 0; n < OUTBOX.entries; n++) expect(outbox.add(entry(`${n}`))).toBe(true)
    expect(outbox.add(entry('more'))).toBe(false)
    expect(outbox.remove('7')).toBe(true)
    expect(outbox.remove('7')).toBe(false)
    expect(outbox.add(entry('8'))).toBe(false)
    expect(outbox.add(entry('more'))).toBe(true)
    const large = new Outbox()
    const payload = new Uint8Array(OUTBOX.bytes / 2)
    expect(large.add(entry('a', { payload }))).toBe(true)
    expect(large.add(entry('b', { payload }))).toBe(true)
    expect(large.add(entry('c'))).toBe(false)
  })
})

describe('relays', () => {
  test('the next one where the first cannot be reached, the first again when it can', () => {
    const outbox = outboxOf('a')
    expect(take(outbox, 0)).toEqual(['a to one'])
    expect(outbox.onLost('one', 'relay-down', undefined, 0, 0)).toEqual([
      { id: 'a', to: BOB, state: 'waiting', relay: 'one', code: 'relay-down' },
    ])
    expect(take(outbox, 0)).toEqual(['a to two'])
    outbox.onLost('two', 'relay-down', undefined, 0, 0)
    expect(take(outbox, 0)).toEqual([])
    // With random 0: half of the first pause.
    expect(outbox.due(0)).toBe(500)
    expect(take(outbox, 499)).toEqual([])
    expect(take(outbox, 500)).toEqual(['a to one'])
    outbox.onLost('one', 'relay-down', undefined, 0, 500)
    outbox.onUp('one')
    expect(take(outbox, 500)).toEqual(['a to one'])
  })

  test('pauses grow, and are at least what the relay asks for', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: ['one'] }))
    const pauses: number[] = []
    let now = 0
    for (let n = 0; n < 10; n++) {
      expect(take(outbox, now)).toEqual(['a to one'])
      outbox.onLost('one', 'closed', undefined, 0, now)
      pauses.push(outbox.due(now) - now)
      now = outbox.due(now)
    }
    expect(pauses).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000])
    take(outbox, now)
    outbox.onLost('one', 'restarting', 100, 0, now)
    expect(outbox.due(now) - now).toBe(130_000)
  })

  test('what was under way when the connection was lost goes again, in order', () => {
    const outbox = outboxOf('a', 'b', 'c')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    outbox.onLost('one', 'closed', undefined, 0, 0)
    outbox.onUp('one')
    // Whether it forgot is seen on the way.
    expect(take(outbox, 0)).toEqual(['b to one', 'c to one'])
  })

  test('a relay that forgot gets all again, in order, before what is new', () => {
    const outbox = new Outbox()
    for (const id of ['a', 'b', 'c']) outbox.add(entry(id, { relays: ['one'] }))
    take(outbox, 0)
    sent(outbox, ['a', 'b'], 'one')
    outbox.add(entry('d', { relays: ['one'] }))
    outbox.onLost('one', 'closed', undefined, 0, 0)
    // Until that is known nothing goes there, or what is new would go first.
    expect(take(outbox, 500)).toEqual(['look at one'])
    expect(take(outbox, 500)).toEqual([])
    outbox.onForgot('one')
    outbox.onUp('one')
    expect(take(outbox, 500)).toEqual(['a to one', 'b to one', 'c to one', 'd to one'])
    // Held before, held again: nothing new to say.
    expect(sent(outbox, ['a', 'c'], 'one')).toEqual([undefined, 'held'])
  })

  test('a relay that was only lost is looked at, though nothing is to be sent', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    outbox.onLost('one', 'closed', undefined, 0, 0)
    expect(take(outbox, 0)).toEqual([])
    expect(outbox.due(0)).toBe(500)
    expect(take(outbox, 500)).toEqual(['look at one'])
    expect(take(outbox, 500)).toEqual([])
  })

  test('a relay without a connection is looked at in growing pauses while it holds something', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    const pauses: number[] = []
    let now = 0
    for (let n = 0; n < 4; n++) {
      outbox.onIdle('one', 0, now)
      const due = outbox.due(now)
      pauses.push(due - now)
      now = due
      expect(take(outbox, now)).toEqual(['look at one'])
    }
    expect(pauses).toEqual([180_000, 360_000, 720_000, 1_440_000])
    outbox.onReceipt(BOB, ['a'], 'delivered')
    outbox.onIdle('one', 0, now)
    expect(outbox.due(now)).toBe(Number.POSITIVE_INFINITY)
  })

  test('one that cannot be reached any more loses what it holds to the next one', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    outbox.onLost('one', 'closed', undefined, 0, 0)
    expect(take(outbox, 500)).toEqual(['look at one'])
    outbox.onLost('one', 'relay-down', undefined, 0, 500)
    expect(take(outbox, 500)).toEqual(['a to two'])
    sent(outbox, ['a'], 'two', 500)
    expect(take(outbox, 500)).toEqual([])
  })

  test('whatever a relay says, what is unconfirmed goes out again, to another relay first', () => {
    const outbox = outboxOf('a')
    const times: string[] = []
    for (let now = 0; now < 6 * DAY; now = Math.min(outbox.due(now), 6 * DAY)) {
      for (const task of outbox.take(now)) {
        times.push(`${Math.round(now / 3_600_000)} h to ${task.relay}`)
        if (task.kind === 'send') outbox.onSent(task.id, task.relay, 604_800, now)
      }
    }
    expect(times).toEqual([
      '0 h to one',
      '1 h to two',
      '5 h to one',
      '17 h to one',
      '41 h to one',
      '65 h to one',
      '89 h to one',
      '113 h to one',
      '137 h to one',
    ])
  })

  test('it goes again when the relay will have given it up', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    outbox.onSent('a', 'one', 120, 0)
    expect(take(outbox, 119_999)).toEqual([])
    expect(take(outbox, 120_000)).toEqual(['a to two'])
  })

  test('when receipts may have been lost, what is unconfirmed asks for them', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    outbox.onReceiptsLost(0, 1_000)
    expect(take(outbox, 5_999)).toEqual([])
    expect(take(outbox, 6_000)).toHaveLength(1)
  })

  test('newer relays of the receiver count as soon as they are known', () => {
    let relays: string[] | undefined
    const outbox = new Outbox(() => relays)
    outbox.add(entry('a'))
    relays = ['three']
    expect(take(outbox, 0)).toEqual(['a to three'])
  })

  test('what was kept goes out again, and is known to have been held', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { held: ['one'] }))
    expect(outbox.entries()).toMatchObject([{ id: 'a', held: ['one'] }])
    expect(take(outbox, 0)).toEqual(['a to one'])
    expect(sent(outbox, ['a'], 'one')).toEqual([undefined])
  })
})

describe('refusals', () => {
  const refuse = (outbox: Outbox, id: string, relay: string, code: Parameters<Outbox['onRefused']>[2], now = 0): unknown =>
    outbox.onRefused(id, relay, code, undefined, 0, now)

  test('a full mailbox: its messages wait in order, or go to the next relay; others are not held up', () => {
    const outbox = outboxOf('a', 'b')
    outbox.add(entry('c', { to: CAROL, relays: ['one'] }))
    take(outbox, 0)
    expect(refuse(outbox, 'a', 'one', 'mailbox-full')).toMatchObject({ state: 'waiting', code: 'mailbox-full' })
    expect(refuse(outbox, 'b', 'one', 'mailbox-full')).toMatchObject({ state: 'waiting' })
    expect(sent(outbox, ['c'], 'one')).toEqual(['held'])
    expect(take(outbox, 0)).toEqual(['a to two', 'b to two'])
    refuse(outbox, 'a', 'two', 'mailbox-full')
    refuse(outbox, 'b', 'two', 'mailbox-full')
    expect(take(outbox, 0)).toEqual([])
    expect(take(outbox, 500)).toEqual(['a to one', 'b to one'])
  })

  test('a receipt says that there is room again', () => {
    const outbox = new Outbox()
    for (const id of ['a', 'b']) outbox.add(entry(id, { relays: ['one'] }))
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    refuse(outbox, 'b', 'one', 'mailbox-full')
    expect(take(outbox, 0)).toEqual([])
    outbox.onReceipt(BOB, ['a'], 'delivered')
    expect(take(outbox, 0)).toEqual(['b to one'])
  })

  test('nothing overtakes what waits for the same receiver', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: ['one'] }))
    take(outbox, 0)
    refuse(outbox, 'a', 'one', 'mailbox-full')
    outbox.add(entry('b', { relays: ['two'] }))
    expect(take(outbox, 0)).toEqual([])
    expect(take(outbox, 500)).toEqual(['a to one', 'b to two'])
  })

  test('a relay that is full, or asks for a pause, is let alone as a whole', () => {
    const outbox = outboxOf('a')
    outbox.add(entry('c', { to: CAROL, relays: ['one'] }))
    take(outbox, 0)
    outbox.onRefused('a', 'one', 'rate-limited', 30, 0, 0)
    refuse(outbox, 'c', 'one', 'rate-limited')
    expect(take(outbox, 0)).toEqual(['a to two'])
    expect(take(outbox, 30_499)).toEqual([])
    expect(take(outbox, 30_500)).toEqual(['c to one'])
  })

  test('what no relay will take has failed', () => {
    const outbox = outboxOf('a', 'b')
    take(outbox, 0)
    expect(refuse(outbox, 'a', 'one', 'too-large')).toMatchObject({ state: 'waiting' })
    expect(take(outbox, 0)).toEqual(['a to two'])
    expect(refuse(outbox, 'a', 'two', 'denied')).toEqual({ id: 'a', to: BOB, state: 'failed', relay: 'two', code: 'denied' })
    expect(outbox.size).toBe(1)
  })

  test('a relay that does not admit us will take nothing', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: ['one'] }))
    take(outbox, 0)
    expect(outbox.onLost('one', 'denied', undefined, 0, 0)).toEqual([{ id: 'a', to: BOB, state: 'failed', relay: 'one', code: 'denied' }])
  })
})

test('a clock that is set back far blocks no relay, and holds nothing back, for that long', () => {
  const outbox = new Outbox()
  const noon = 20_000 * DAY
  outbox.add(entry('a', { deadline: noon + DAY }))
  take(outbox, noon)
  outbox.onRefused('a', 'one', 'mailbox-full', undefined, 0, noon)
  outbox.onLost('two', 'relay-down', undefined, 0, noon)
  expect(take(outbox, noon)).toEqual([])
  expect(take(outbox, noon - DAY)).toEqual(['a to one'])
  expect(sent(outbox, ['a'], 'one', noon)).toEqual(['held'])
  expect(take(outbox, noon)).toEqual([])
  expect(take(outbox, noon - DAY)).toEqual(['a to two'])
})

test('whatever relays do, nothing is lost, nothing is sent twice at once, and there is always a next step', () => {
  const steps = fc.array(fc.tuple(fc.nat(7), fc.nat(9), fc.double({ min: 0, max: 0.999, noNaN: true })), { maxLength: 200 })
  fc.assert(
    fc.property(steps, (list) => {
      const outbox = new Outbox()
      const flying = new Map<string, string>()
      const open = new Set<string>()
      let now = 0
      let next = 0
      for (const [what, which, random] of list) {
        now += 1_000
        if (what === 0 || next === 0) {
          const id = `${next++}`
          open.add(id)
          outbox.add(entry(id, { deadline: Number.POSITIVE_INFINITY }))
        }
        for (const task of outbox.take(now)) {
          if (task.kind === 'look') {
            outbox.onUp(task.relay)
            continue
          }
          expect(flying.has(task.id)).toBe(false)
          flying.set(task.id, task.relay)
        }
        const [id, relay] = [...flying][which % Math.max(1, flying.size)] ?? []
        if (id === undefined || relay === undefined) continue
        if (what <= 2) outbox.onSent(id, relay, 604_800, now)
        if (what === 3) outbox.onRefused(id, relay, 'mailbox-full', undefined, random, now)
        if (what === 4 || what === 5) {
          outbox.onLost(relay, 'closed', undefined, random, now)
          if (what === 5) outbox.onForgot(relay)
          for (const [each, at] of flying) if (at === relay) flying.delete(each)
        }
        if (what === 6) {
          outbox.onReceipt(BOB, [id], 'delivered')
          open.delete(id)
        }
        if (what <= 3 || what === 6) flying.delete(id)
      }
      expect(outbox.size).toBe(open.size)
      for (const id of flying.keys()) if (open.has(id)) outbox.onSent(id, flying.get(id)!, 604_800, now)
      // Whatever is left gets its next try without anything else happening.
      for (let n = 0; n < 1_000 && open.size > 0; n++) {
        for (const task of outbox.take(now)) {
          if (task.kind === 'look') {
            outbox.onUp(task.relay)
            continue
          }
          outbox.onSent(task.id, task.relay, 604_800, now)
          outbox.onReceipt(BOB, [task.id], 'delivered')
          open.delete(task.id)
        }
        if (open.size === 0) break
        // After a look there may be something to do at once.
        now = Math.max(now + 1, Math.min(outbox.due(now), now + 3_600_000))
      }
      expect(open.size).toBe(0)
    }),
  )
})
