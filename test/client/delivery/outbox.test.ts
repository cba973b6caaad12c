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

/** The relay restarts: it names another run than before. */
function forget(outbox: Outbox, relay: string, now: number): void {
  outbox.onRun(relay, 'before', undefined, now)
  outbox.onRun(relay, 'after', undefined, now)
}

describe('a message in the outbox', () => {
  test('goes to the first relay and becomes held, delivered and read', () => {
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

  test('uses the routes on which it flies, is held, or will go', () => {
    let routes = ['one']
    const outbox = new Outbox(() => routes)
    outbox.add(entry('a'))
    take(outbox, 0)
    routes = ['three']
    expect(outbox.used()).toEqual(new Set(['one', 'three']))
    sent(outbox, ['a'], 'one')
    expect(outbox.used()).toEqual(new Set(['one', 'three']))
    forget(outbox, 'one', 0)
    expect(outbox.used()).toEqual(new Set(['three']))
  })

  test('goes to the inbox although a part of a file waits for the address in vain', () => {
    const outbox = new Outbox((_, daily) => (daily ? ['inbox'] : ['address']))
    outbox.add(entry('part', { keep: false }))
    outbox.add(entry('text', { text: new Uint8Array(8) }))
    expect(take(outbox, 0)).toEqual(['part to address', 'text to address'])
    outbox.onLost('address', 'onion-not-found', undefined, 0, 0)
    outbox.onRenewed('text', { payload: new Uint8Array(8), daily: true, renewals: 0 })
    expect(take(outbox, 0)).toEqual(['text to inbox'])
  })

  test('goes to the inbox if the relay of the address denies it, and again if it was encrypted anew for the address meanwhile', () => {
    const outbox = new Outbox((_, daily) => (daily ? ['inbox'] : ['address']))
    outbox.add(entry('a', { text: new Uint8Array(8) }))
    const renew = (daily: boolean): void => outbox.onRenewed('a', { payload: new Uint8Array(8), daily, renewals: 0 })
    expect(take(outbox, 0)).toEqual(['a to address'])
    outbox.onRefused('a', 'address', 'denied', undefined, 0, 0)
    expect(outbox.stranded(0, false)).toEqual(['a'])
    renew(true)
    expect(outbox.stranded(0, false)).toEqual([])
    renew(false)
    expect(take(outbox, 0)).toEqual([])
    expect(outbox.stranded(0, false)).toEqual(['a'])
    renew(true)
    expect(take(outbox, 0)).toEqual(['a to inbox'])
  })

  test('goes to the inbox if the relay of the address is gone, also if an earlier version wrote it and stored no text', () => {
    const outbox = new Outbox((_, daily) => (daily ? ['new INBOX'] : ['old ADDRESS']))
    outbox.add({ ...entry('a'), held: ['old'] })
    let now = 0
    for (let tries = 0; tries < 6; tries++) {
      expect(outbox.stranded(now, true)).toEqual([])
      expect(take(outbox, now)).toEqual(['a to old ADDRESS'])
      outbox.onLost('old ADDRESS', 'closed', undefined, 0, now)
      now += 600_000
    }
    expect(outbox.stranded(now, true)).toEqual(['a'])
    outbox.onRenewed('a', { payload: outbox.find('a')!.payload, daily: true, renewals: 0 })
    expect(take(outbox, now)).toEqual(['a to new INBOX'])
  })

  test('ignores receipts by another contact and receipts for unknown messages', () => {
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

  test('does not ask for a turn while it waits behind another message whose relay is being looked at', () => {
    const outbox = new Outbox()
    for (const id of ['a', 'b']) outbox.add(entry(id, { relays: ['one'] }))
    take(outbox, 0)
    sent(outbox, ['a', 'b'], 'one')
    outbox.onIdle('one', 0, 1)
    const later = OUTBOX.again[0]! + 1
    expect(take(outbox, later)).toEqual(['look at one'])
    expect(outbox.due(later)).toBeGreaterThan(later)
  })

  test('waits while the window of its relay is full', () => {
    const ids = Array.from({ length: OUTBOX.window + 2 }, (_, n) => `${n}`)
    const outbox = outboxOf(...ids)
    expect(take(outbox, 0)).toHaveLength(OUTBOX.window)
    sent(outbox, ['0'], 'one')
    expect(take(outbox, 0)).toEqual([`${OUTBOX.window} to one`])
  })

  test('expires at its deadline', () => {
    const outbox = outboxOf('a', 'b')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    expect(outbox.expire(7 * DAY - 1)).toEqual([])
    expect(outbox.due(0)).toBeLessThanOrEqual(7 * DAY)
    expect(outbox.expire(7 * DAY)).toEqual([
      { id: 'a', to: BOB, state: 'expired' },
      { id: 'b', to: BOB, state: 'expired' },
    ])
    // A later answer changes nothing.
    expect(sent(outbox, ['b'], 'one')).toEqual([undefined])
    expect(outbox.due(0)).toBe(Number.POSITIVE_INFINITY)
  })

  test('without confirmation is done once a relay accepts it', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { confirm: false }))
    take(outbox, 0)
    expect(sent(outbox, ['a'], 'one')).toEqual(['held'])
    expect(outbox.size).toBe(0)
  })

  test('is refused if the outbox is full', () => {
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
    large.remove('a')
    expect(large.add(entry('c', { payload }))).toBe(true)
    expect(large.add(entry('d'))).toBe(false)
  })
})

describe('the relays of an outbox', () => {
  test('are tried in order, and the first one again when it is up', () => {
    const outbox = outboxOf('a')
    expect(take(outbox, 0)).toEqual(['a to one'])
    expect(outbox.onLost('one', 'relay-down', undefined, 0, 0)).toEqual([
      { id: 'a', to: BOB, state: 'waiting', relay: 'one', code: 'relay-down' },
    ])
    expect(take(outbox, 0)).toEqual(['a to two'])
    outbox.onLost('two', 'relay-down', undefined, 0, 0)
    expect(take(outbox, 0)).toEqual([])
    // With random 0, the pause is half of its maximum.
    expect(outbox.due(0)).toBe(500)
    expect(take(outbox, 499)).toEqual([])
    expect(take(outbox, 500)).toEqual(['a to one'])
    outbox.onLost('one', 'relay-down', undefined, 0, 500)
    outbox.onUp('one', 500)
    expect(take(outbox, 500)).toEqual(['a to one'])
  })

  test('get growing pauses, at least as long as they ask', () => {
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

  test.each([
    ['go on with growing pauses if their connections end soon', 59_000, [500, 1_000, 2_000, 4_000]],
    ['get a short pause after a connection that lasted', 61_000, [500, 500, 500, 500]],
  ])('%s', (_what, lasts, expected) => {
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: ['one'] }))
    let now = 0
    const pauses = expected.map(() => {
      expect(take(outbox, now)).toEqual(['a to one'])
      outbox.onUp('one', now)
      now += lasts
      outbox.onLost('one', 'closed', undefined, 0, now)
      const pause = outbox.due(now) - now
      now += pause
      return pause
    })
    expect(pauses).toEqual(expected)
  })

  test('get the messages in flight again, in order, after a lost connection', () => {
    const outbox = outboxOf('a', 'b', 'c')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    outbox.onLost('one', 'closed', undefined, 0, 0)
    outbox.onUp('one', 0)
    // Whether the relay forgot messages becomes known on the way.
    expect(take(outbox, 0)).toEqual(['b to one', 'c to one'])
  })

  test('that forgot get all messages again, in order, before new ones', () => {
    const outbox = new Outbox()
    for (const id of ['a', 'b', 'c']) outbox.add(entry(id, { relays: ['one'] }))
    take(outbox, 0)
    sent(outbox, ['a', 'b'], 'one')
    outbox.add(entry('d', { relays: ['one'] }))
    outbox.onLost('one', 'closed', undefined, 0, 0)
    // Nothing may go there until that is known, or the new message would go first.
    expect(take(outbox, 500)).toEqual(['look at one'])
    expect(take(outbox, 500)).toEqual([])
    forget(outbox, 'one', 500)
    outbox.onUp('one', 500)
    expect(take(outbox, 500)).toEqual(['a to one', 'b to one', 'c to one', 'd to one'])
    // The state was already `held`, so it is not reported again.
    expect(sent(outbox, ['a', 'c'], 'one')).toEqual([undefined, 'held'])
  })

  test('that hold a message for no time get it again after a minute at the earliest', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    outbox.onSent('a', 'one', 0, 0)
    expect(take(outbox, 59_999)).toEqual([])
    expect(take(outbox, 60_000)).toEqual(['a to two'])
  })

  test('that forgot a message which another one still holds do not get it again', () => {
    const outbox = outboxOf('a', 'b')
    take(outbox, 0)
    sent(outbox, ['a', 'b'], 'one')
    // Without a receipt, the message goes to the second relay, too.
    const later = OUTBOX.again[0]!
    expect(take(outbox, later)).toEqual(['a to two', 'b to two'])
    sent(outbox, ['a'], 'two', later)
    forget(outbox, 'one', later)
    expect(take(outbox, later)).toEqual([])
    expect(outbox.entries()[0]).toMatchObject({ id: 'a', held: ['two'] })
    forget(outbox, 'two', later)
    expect(take(outbox, later)).toEqual(['a to one'])
  })

  test.each([
    ['not again while another one holds it', 7_199_999, []],
    ['again once it expired at another one', 7_200_000, ['a to one']],
  ])('that forgot a message get it %s', (_, now, tasks) => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    outbox.onSent('a', 'one', 7_200, 0)
    const later = OUTBOX.again[0]!
    expect(take(outbox, later)).toEqual(['a to two'])
    sent(outbox, ['a'], 'two', later)
    forget(outbox, 'two', now)
    expect(take(outbox, now)).toEqual(tasks)
  })

  test('get the messages of all routes again after their run changed, and once only', () => {
    const [mailbox, other] = [`one ${BOB}`, `one ${CAROL}`]
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: [mailbox] }))
    outbox.add(entry('b', { to: CAROL, relays: [other] }))
    take(outbox, 0)
    sent(outbox, ['a'], mailbox)
    sent(outbox, ['b'], other)
    expect(outbox.onRun('one', 'first', undefined, 0)).toBe(false)
    expect(outbox.onRun('one', 'first', undefined, 0)).toBe(false)
    expect(take(outbox, 0)).toEqual([])
    expect(outbox.onRun('one', 'second', undefined, 0)).toBe(true)
    expect(take(outbox, 0)).toEqual([`a to ${mailbox}`, `b to ${other}`])
    sent(outbox, ['a'], mailbox)
    sent(outbox, ['b'], other)
    // The connection of the other route learns of the run, too.
    expect(outbox.onRun('one', 'second', undefined, 0)).toBe(false)
    expect(take(outbox, 0)).toEqual([])
  })

  test('are checked after a lost connection, even without messages to send', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    outbox.onLost('one', 'closed', undefined, 0, 0)
    expect(take(outbox, 0)).toEqual([])
    expect(outbox.due(0)).toBe(500)
    expect(take(outbox, 500)).toEqual(['look at one'])
    expect(take(outbox, 500)).toEqual([])
  })

  test('are checked in growing pauses while they hold a message', () => {
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

  test('that stay unreachable lose their held messages to the next relay', () => {
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

  test('get unconfirmed messages again, alternately, whatever they answered', () => {
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

  test('are replaced by the next relay before their hold time ends', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    outbox.onSent('a', 'one', 120, 0)
    expect(take(outbox, 107_999)).toEqual([])
    expect(take(outbox, 108_000)).toEqual(['a to two'])
  })

  test('get unconfirmed messages again soon after receipts may have been lost', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    outbox.onRun('own', 'before', 0, 1_000)
    expect(take(outbox, 6_000)).toEqual([])
    outbox.onRun('own', 'after', 0, 1_000)
    expect(take(outbox, 5_999)).toEqual([])
    expect(take(outbox, 6_000)).toHaveLength(1)
  })

  test('are those last known of the receiver', () => {
    let relays: string[] | undefined
    const outbox = new Outbox(() => relays)
    outbox.add(entry('a'))
    relays = ['three']
    expect(take(outbox, 0)).toEqual(['a to three'])
  })

  test('are known to hold the messages that a former run stored there', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { held: ['one'] }))
    expect(outbox.entries()).toMatchObject([{ id: 'a', held: ['one'] }])
    expect(take(outbox, 0)).toEqual(['a to one'])
    expect(sent(outbox, ['a'], 'one')).toEqual([undefined])
  })
})

describe('two copies', () => {
  const at = (id: string, more: Partial<OutboxEntry> = {}): OutboxEntry => entry(id, { text: new Uint8Array(8), ...more })
  const twice = (): Outbox => new Outbox(undefined, () => true)

  test('of a text go to two relays, and of other messages to one', () => {
    const outbox = twice()
    for (const each of [at('a'), at('daily', { daily: true }), at('part', { keep: false }), entry('plain')]) outbox.add(each)
    expect(take(outbox, 0)).toEqual(['a to one', 'daily to one', 'part to one', 'plain to one'])
    expect(outbox.onSent('a', 'one', 604_800, 0)?.state).toBe('held')
    expect(outbox.busy).toBe(true)
    for (const id of ['daily', 'part', 'plain']) outbox.onSent(id, 'one', 604_800, 0)
    expect(take(outbox, 0)).toEqual(['a to two'])
    expect(outbox.onSent('a', 'two', 604_800, 0)).toBeUndefined()
    expect(outbox.busy).toBe(false)
    expect(take(outbox, 0)).toEqual([])
    // It is sent again as late as any message.
    expect(outbox.due(0)).toBe(3_600_000)
  })

  test('are one copy while the second relay cannot be reached; the messages behind do not wait', () => {
    const outbox = twice()
    for (const id of ['a', 'b']) outbox.add(at(id))
    take(outbox, 0)
    sent(outbox, ['a', 'b'], 'one')
    expect(take(outbox, 0)).toEqual(['a to two', 'b to two'])
    outbox.onLost('two', 'relay-down', undefined, 1, 0)
    expect(outbox.busy).toBe(false)
    outbox.add(at('c'))
    expect(take(outbox, 0)).toEqual(['c to one'])
    sent(outbox, ['c'], 'one')
    expect(take(outbox, 0)).toEqual([])
    outbox.onReached('two', 500)
    expect(take(outbox, 500)).toEqual(['a to two', 'b to two', 'c to two'])
  })

  test('are sent to the first relay again if it forgot the message, and the second one fails', () => {
    const outbox = twice()
    outbox.add(at('a'))
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    expect(take(outbox, 0)).toEqual(['a to two'])
    forget(outbox, 'one', 0)
    outbox.onLost('two', 'relay-down', undefined, 1, 0)
    expect(take(outbox, 0)).toEqual(['a to one'])
  })

  test('are two again after a relay forgot one, or after the next start', () => {
    const outbox = twice()
    outbox.add(at('a'))
    outbox.add(at('b', { held: ['one', 'two'] }))
    expect(take(outbox, 0)).toEqual(['a to one', 'b to one'])
    sent(outbox, ['a', 'b'], 'one')
    forget(outbox, 'one', 0)
    expect(take(outbox, 0)).toEqual(['a to one', 'b to one'])
    sent(outbox, ['a', 'b'], 'one')
    expect(take(outbox, 0)).toEqual(['a to two', 'b to two'])
    sent(outbox, ['a', 'b'], 'two')
    forget(outbox, 'one', 0)
    expect(take(outbox, 0)).toEqual(['a to one', 'b to one'])
    sent(outbox, ['a', 'b'], 'one')
    expect(take(outbox, 0)).toEqual([])
  })
})

describe('a message that a relay held before the program was started again', () => {
  const first = OUTBOX.again[0]!

  /** Sends the messages, stores them, and starts again. @param held the relays that accept `a`; `b` is never sent */
  function start(now: number, { run = 'first', held = ['one'] } = {}): Outbox {
    const outbox = new Outbox()
    outbox.add(entry('a'))
    for (const [index, relay] of held.entries()) {
      expect(take(outbox, index * first)).toEqual([`a to ${relay}`])
      outbox.onRun(relay, run, undefined, 0)
      sent(outbox, ['a'], relay, index * first)
    }
    outbox.add(entry('b', { to: CAROL, relays: ['three'] }))
    const stored = JSON.parse(JSON.stringify(outbox.entries())) as OutboxEntry[]
    const again = new Outbox()
    for (const one of stored) again.add(one)
    again.onStart(now)
    return again
  }

  test('is not sent, and its relay is asked for its run before anything is sent there', () => {
    const outbox = start(5_000)
    outbox.add(entry('c'))
    expect(outbox.busy).toBe(true)
    expect(take(outbox, 5_000)).toEqual(['b to three', 'look at one'])
    expect(outbox.onRun('one', 'first', undefined, 5_000)).toBe(false)
    outbox.onUp('one', 5_000)
    expect(take(outbox, 5_000)).toEqual(['c to one'])
    sent(outbox, ['c'], 'one', 5_000)
    sent(outbox, ['b'], 'three', 5_000)
    expect(outbox.busy).toBe(false)
    expect(take(outbox, first - 1)).toEqual([])
    expect(take(outbox, first)).toEqual(['a to two'])
  })

  test('is sent at once, before later ones, if the relay has another run', () => {
    const outbox = start(5_000)
    outbox.add(entry('c'))
    take(outbox, 5_000)
    expect(outbox.onRun('one', 'second', undefined, 5_000)).toBe(true)
    outbox.onUp('one', 5_000)
    expect(take(outbox, 5_000)).toEqual(['a to one', 'c to one'])
  })

  test('is sent if its time came meanwhile, and the pause after that is the next longer one', () => {
    const outbox = start(first)
    expect(take(outbox, first)).toEqual(['a to two', 'b to three', 'look at one'])
    outbox.onUp('one', first)
    sent(outbox, ['a'], 'two', first)
    expect(take(outbox, first + OUTBOX.again[1]! - 1)).toEqual([])
    expect(take(outbox, first + OUTBOX.again[1]!)).toEqual(['a to one'])
  })

  test('counts as held at each relay of its copies', () => {
    const outbox = start(first + 5_000, { held: ['one', 'two'] })
    expect(take(outbox, first + 5_000)).toEqual(['b to three', 'look at one', 'look at two'])
    expect(outbox.entries()[0]!.sent).toEqual({ copies: 2, again: first + OUTBOX.again[1]!, runs: ['first', 'first'] })
    expect(outbox.onRun('one', 'second', undefined, first + 5_000)).toBe(true)
    expect(take(outbox, first + 5_000)).toEqual([])
    expect(outbox.onRun('two', 'second', undefined, first + 5_000)).toBe(true)
    expect(take(outbox, first + 5_000)).toEqual([])
    outbox.onUp('one', first + 5_000)
    expect(take(outbox, first + 5_000)).toEqual(['a to one'])
  })

  test('makes the outbox busy until the look has succeeded', () => {
    const outbox = start(5_000)
    expect(take(outbox, 5_000)).toEqual(['b to three', 'look at one'])
    sent(outbox, ['b'], 'three', 5_000)
    expect(outbox.busy).toBe(true)
    outbox.onUp('one', 5_000)
    expect(outbox.busy).toBe(false)
  })

  test('is sent to the next relay if its own cannot be reached, and not by a later failure of that one', () => {
    const outbox = start(5_000)
    expect(take(outbox, 5_000)).toEqual(['b to three', 'look at one'])
    outbox.onLost('one', 'relay-down', undefined, 0, 5_000)
    expect(take(outbox, 5_000)).toEqual(['a to two'])
    sent(outbox, ['a'], 'two', 5_000)
    const up = start(5_000)
    take(up, 5_000)
    up.onUp('one', 5_000)
    up.onLost('one', 'relay-down', undefined, 0, 5_000)
    expect(take(up, 5_000)).toEqual([])
  })

  test('goes to the inbox if the relay of its address cannot be reached for ten minutes', () => {
    const outbox = new Outbox((_, daily) => (daily ? ['inbox'] : ['address']))
    outbox.add(entry('a', { text: new Uint8Array(8), held: ['address'], sent: { copies: 1, again: first, runs: ['first'] } }))
    outbox.onStart(0)
    let now = 0
    for (; now < 600_000; now += 60_000) {
      expect(outbox.stranded(now, true)).toEqual([])
      outbox.onLost('address', 'onion-not-found', undefined, 0, now)
    }
    expect(outbox.stranded(now, true)).toEqual(['a'])
  })

  test('is sent if the clock was set back by more than the longest pause', () => {
    const outbox = start(first, { held: ['one'] })
    expect(take(outbox, first - OUTBOX.again.at(-1)! - 1)).toContain('a to two')
  })

  test('is sent if its relay named no run, as after a version without runs', () => {
    const outbox = new Outbox()
    outbox.add(entry('a'))
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    const [stored] = outbox.entries()
    expect(stored).not.toHaveProperty('sent')
    const again = new Outbox()
    again.add(stored!)
    again.onStart(5_000)
    expect(take(again, 5_000)).toEqual(['a to one'])
  })

  test('is sent if more relays named a run since than the outbox remembers', () => {
    const outbox = outboxOf('a')
    take(outbox, 0)
    outbox.onRun('one', 'first', undefined, 0)
    sent(outbox, ['a'], 'one')
    for (let n = 1; n < OUTBOX.runs; n++) outbox.onRun(`relay ${n}`, 'first', undefined, 0)
    expect(outbox.entries()[0]).toHaveProperty('sent')
    outbox.onRun('the last one', 'first', undefined, 0)
    expect(outbox.entries()[0]).not.toHaveProperty('sent')
  })
})

describe('a message that leaves later', () => {
  test('waits until then, and the outbox is busy', () => {
    const outbox = new Outbox()
    expect(outbox.add(entry('a'), 7_000)).toBe(true)
    outbox.add(entry('b', { to: CAROL }), 3_000)
    expect(take(outbox, 0)).toEqual([])
    expect([outbox.busy, outbox.due(0)]).toEqual([true, 3_000])
    expect(take(outbox, 3_000)).toEqual(['b to one'])
    expect(outbox.due(3_000)).toBe(7_000)
    expect(take(outbox, 7_000)).toEqual(['a to one'])
    outbox.onSent('a', 'one', 3_600, 7_000)
    outbox.onSent('b', 'one', 3_600, 7_000)
    expect(outbox.busy).toBe(false)
  })

  test('waits until then also after a start', () => {
    const outbox = new Outbox()
    outbox.add(entry('a'), 7_000)
    const again = new Outbox()
    for (const stored of outbox.entries()) again.add(stored)
    again.onStart(0)
    expect([take(again, 6_999), again.due(6_999)]).toEqual([[], 7_000])
    expect(take(again, 7_000)).toEqual(['a to one'])
  })

  test('leaves at once if the clock was set back by more than the longest pause', () => {
    const outbox = new Outbox()
    outbox.add(entry('a'), 100 * DAY)
    expect(take(outbox, 0)).toEqual(['a to one'])
  })
})

describe('a refusal', () => {
  // A pause above a minute lets the connection end: one at a former address of a relay would last for ever.
  test.each(['no-bundle', 'old-bundle', 'mailbox-full'] as const)(
    'by %s is followed by the next try after 15 to 600 s; without a bundle the outbox has nothing to do until then',
    (code) => {
      const outbox = new Outbox()
      outbox.add(entry('a', { relays: ['one SHA256:inbox'], payload: new Uint8Array(0), text: new Uint8Array(8) }))
      expect(take(outbox, 0)).toEqual(['a to one SHA256:inbox'])
      expect(outbox.busy).toBe(true)
      expect(outbox.onRefused('a', 'one SHA256:inbox', code, 86_400, 1, 0)).toMatchObject({ state: 'waiting', code, seconds: 86_400 })
      expect(outbox.busy).toBe(code === 'mailbox-full')
      expect(outbox.due(0)).toBe(15_000)
      expect(take(outbox, 14_999)).toEqual([])
      expect(take(outbox, 15_000)).toEqual(['a to one SHA256:inbox'])
      expect(outbox.busy).toBe(true)
      for (let now = 15_000, n = 0; n < 10; n++) {
        outbox.onRefused('a', 'one SHA256:inbox', code, undefined, 1, now)
        expect(outbox.due(now) - now).toBe(Math.min(600_000, 30_000 * 2 ** n))
        now = outbox.due(now)
        take(outbox, now)
      }
    },
  )

  const refuse = (outbox: Outbox, id: string, relay: string, code: Parameters<Outbox['onRefused']>[2], now = 0): unknown =>
    outbox.onRefused(id, relay, code, undefined, 0, now)

  test('of a full mailbox makes its messages wait in order or go to the next relay, and delays no other receiver', () => {
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
    // One message finds out whether there is room now.
    expect(take(outbox, 11_250)).toEqual(['a to one'])
    outbox.onSent('a', 'one', 604_800, 11_250)
    expect(take(outbox, 11_250)).toEqual(['b to one'])
  })

  test('of a full mailbox ends with a receipt, which proves that there is room', () => {
    const outbox = new Outbox()
    for (const id of ['a', 'b']) outbox.add(entry(id, { relays: ['one'] }))
    take(outbox, 0)
    sent(outbox, ['a'], 'one')
    refuse(outbox, 'b', 'one', 'mailbox-full')
    expect(take(outbox, 0)).toEqual([])
    outbox.onReceipt(BOB, ['a'], 'delivered')
    expect(take(outbox, 0)).toEqual(['b to one'])
  })

  test('of a full mailbox ends if its relay forgot all messages, and that of another relay does not', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: ['one'] }))
    outbox.add(entry('c', { to: CAROL, relays: ['two'] }))
    take(outbox, 0)
    refuse(outbox, 'a', 'one', 'mailbox-full')
    refuse(outbox, 'c', 'two', 'mailbox-full')
    expect(take(outbox, 0)).toEqual([])
    forget(outbox, 'one', 0)
    expect(take(outbox, 0)).toEqual(['a to one'])
  })

  test('makes later messages to the same receiver wait, too', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: ['one'] }))
    take(outbox, 0)
    refuse(outbox, 'a', 'one', 'mailbox-full')
    outbox.add(entry('b', { relays: ['two'] }))
    expect(take(outbox, 0)).toEqual([])
    expect(take(outbox, 11_250)).toEqual(['a to one', 'b to two'])
  })

  test('of a full or rate-limiting relay pauses that relay as a whole', () => {
    const outbox = outboxOf('a')
    outbox.add(entry('c', { to: CAROL, relays: ['one'] }))
    take(outbox, 0)
    outbox.onRefused('a', 'one', 'rate-limited', 30, 0, 0)
    refuse(outbox, 'c', 'one', 'rate-limited')
    expect(take(outbox, 0)).toEqual(['a to two'])
    expect(take(outbox, 30_499)).toEqual([])
    expect(take(outbox, 30_500)).toEqual(['c to one'])
  })

  test('by all relays fails the message', () => {
    const outbox = outboxOf('a', 'b')
    take(outbox, 0)
    expect(refuse(outbox, 'a', 'one', 'too-large')).toMatchObject({ state: 'waiting' })
    expect(take(outbox, 0)).toEqual(['a to two'])
    expect(refuse(outbox, 'a', 'two', 'denied')).toEqual({ id: 'a', to: BOB, state: 'failed', relay: 'two', code: 'denied' })
    expect(outbox.size).toBe(1)
  })

  test('of our key by the only relay fails the message', () => {
    const outbox = new Outbox()
    outbox.add(entry('a', { relays: ['one'] }))
    take(outbox, 0)
    expect(outbox.onLost('one', 'denied', undefined, 0, 0)).toEqual([{ id: 'a', to: BOB, state: 'failed', relay: 'one', code: 'denied' }])
  })
})

test('a clock set back far neither blocks a relay nor delays a message', () => {
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

test('the outbox loses no message, sends none twice at once, and always has a next step, whatever relays do', () => {
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
            outbox.onUp(task.relay, now)
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
          if (what === 5) forget(outbox, relay, now)
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
      // Every remaining message must get its next try without an event from outside.
      for (let n = 0; n < 1_000 && open.size > 0; n++) {
        for (const task of outbox.take(now)) {
          if (task.kind === 'look') {
            outbox.onUp(task.relay, now)
            continue
          }
          outbox.onSent(task.id, task.relay, 604_800, now)
          outbox.onReceipt(BOB, [task.id], 'delivered')
          open.delete(task.id)
        }
        if (open.size === 0) break
        // After a check there may be a message to send at once.
        now = Math.max(now + 1, Math.min(outbox.due(now), now + 3_600_000))
      }
      expect(open.size).toBe(0)
    }),
  )
})

test('a mailbox that took a message again counts as one that never was full', () => {
  const outbox = new Outbox()
  outbox.add(entry('a', { relays: ['one'] }))
  let now = 0
  const refuse = (id: string): number => {
    expect(take(outbox, now)).toEqual([`${id} to one`])
    outbox.onRefused(id, 'one', 'mailbox-full', undefined, 0, now)
    const pause = outbox.due(now) - now
    now += pause
    return pause
  }
  const pauses = [refuse('a'), refuse('a')]
  expect(pauses[1]).toBeGreaterThan(pauses[0]!)
  expect(take(outbox, now)).toEqual(['a to one'])
  outbox.onSent('a', 'one', 604_800, now)
  outbox.add(entry('b', { relays: ['one'] }))
  expect(refuse('b')).toBe(pauses[0])
})

test('a payload for a message that has left the outbox changes nothing', () => {
  const outbox = outboxOf('a')
  outbox.onSealed('gone', new Uint8Array(9))
  expect([outbox.size, outbox.entries().map(({ id }) => id)]).toEqual([1, ['a']])
})
