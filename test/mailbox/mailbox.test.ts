import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { footprint } from '../../src/mailbox/arena.ts'
import { type Erased, MAILBOX_BYTES, MemoryMailboxes, MESSAGE_BYTES } from '../../src/mailbox/mailbox.ts'
import { DEFAULT_LIMITS, type Limits, STRANGER_LIMITS } from '../../src/protocol/limits.ts'
import type { Lease, Put, Subscriber } from '../../src/protocol/ports.ts'

const LIMITS: Limits = { ...DEFAULT_LIMITS, mailboxMessages: 6, window: 3, holdSeconds: 10 }
const BUDGET = 6_000

function create(limits = LIMITS, budget = BUDGET): MemoryMailboxes {
  return new MemoryMailboxes({ limits, budget, randomBytes })
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text))
}

function subscriber(owner: number, calls: string[] = []): Subscriber {
  return { owner, onWaiting: () => calls.push('waiting'), onTakenOver: () => calls.push('taken-over') }
}

const all = { messages: 100, bytes: 1e6 }

/** Acknowledges by the id as it goes over the wire. */
function ack(mailboxes: MemoryMailboxes, box: string, id: string): boolean {
  return mailboxes.ack(box, Number.parseInt(id.slice(0, 8), 16), Number.parseInt(id.slice(8), 16))
}

function idOf(put: Put): string {
  return 'refused' in put ? put.refused : [put.high, put.low].map((word) => word.toString(16).padStart(8, '0')).join('')
}

/** Leases messages and returns their references. */
function lease(mailboxes: MemoryMailboxes, id: string, owner: number, kind: Lease, now = 0, how = all): number[] {
  const into = new Float64Array(how.messages)
  return [...into.subarray(0, mailboxes.take(id, owner, { lease: kind, bytes: how.bytes }, now, into))]
}

/** Leases messages and returns their texts. */
function take(mailboxes: MemoryMailboxes, id: string, owner: number, kind: Lease, now = 0, how = all): string[] {
  return lease(mailboxes, id, owner, kind, now, how).map((reference) => {
    const { bytes, start, end } = mailboxes.read(reference)!
    return bytes.toString('latin1', start, end)
  })
}

describe('mailbox', () => {
  it('delivers in order of arrival', () => {
    const mailboxes = create()
    for (const text of ['a', 'b', 'c']) mailboxes.put('m', bytes(text), 0)
    expect(take(mailboxes, 'm', 1, 'lease', 0, { messages: 2, bytes: 1e6 })).toEqual(['a', 'b'])
    expect(take(mailboxes, 'm', 2, 'lease')).toEqual(['c'])
  })

  it('hides leased messages, and returns them to their old place when the connection ends', () => {
    const mailboxes = create()
    for (const text of ['a', 'b', 'c']) mailboxes.put('m', bytes(text), 0)
    expect(take(mailboxes, 'm', 1, 'lease', 0, { messages: 2, bytes: 1e6 })).toEqual(['a', 'b'])
    expect(take(mailboxes, 'm', 2, 'lease')).toEqual(['c'])
    mailboxes.leave('m', 1)
    mailboxes.leave('m', 2)
    expect(take(mailboxes, 'm', 3, 'lease')).toEqual(['a', 'b', 'c'])
  })

  it('bounds a batch in bytes, but always returns at least one message', () => {
    const mailboxes = create()
    mailboxes.put('m', new Uint8Array(500).fill(97), 0)
    mailboxes.put('m', bytes('bb'), 0)
    mailboxes.put('m', bytes('cc'), 0)
    const small = { messages: 100, bytes: 3 }
    expect(take(mailboxes, 'm', 1, 'lease', 0, small).map((text) => text.length)).toEqual([500])
    expect(take(mailboxes, 'm', 1, 'lease', 0, small)).toEqual(['bb'])
  })

  it.each([
    [3, ['aa']],
    [4, ['aa', 'bb']],
    [5, ['aa', 'bb']],
    [6, ['aa', 'bb', 'cc']],
  ])('hands out a batch of exactly the allowed bytes: %i', (allowed, batch) => {
    const mailboxes = create()
    for (const text of ['aa', 'bb', 'cc']) mailboxes.put('m', bytes(text), 0)
    expect(take(mailboxes, 'm', 1, 'lease', 0, { messages: 100, bytes: allowed })).toEqual(batch)
  })

  it('acknowledges a message by its id for any owner, and refuses an unknown id', () => {
    const mailboxes = create()
    const id = idOf(mailboxes.put('m', bytes('a'), 0))
    const other = idOf(mailboxes.put('other', bytes('b'), 0))
    take(mailboxes, 'm', 1, 'lease')
    expect([id, id, other, '0'.repeat(16)].map((each) => ack(mailboxes, 'm', each))).toEqual([true, false, false, false])
    expect(mailboxes.ack('m', NaN, NaN)).toBe(false)
    expect(mailboxes.size).toMatchObject({ messages: 1, mailboxes: 1 })
  })

  it('refuses messages over the quota or the budget without dropping any', () => {
    const cost = footprint(4) + MESSAGE_BYTES
    const mailboxes = create({ ...LIMITS, mailboxMessages: 2 }, 2 * MAILBOX_BYTES + 3 * cost)
    const results = ['m', 'm', 'm', 'n', 'n', 'o'].map((id) => mailboxes.put(id, bytes('text'), 0))
    expect(results.map((result) => ('refused' in result ? result.refused : 'held'))).toEqual([
      'held',
      'held',
      'mailbox-full',
      'held',
      'relay-full',
      'relay-full',
    ])
    expect(take(mailboxes, 'm', 1, 'plain')).toEqual(['text', 'text'])
  })

  it('gives each message 64 random bits as its id, and nothing else', () => {
    const drawn: Buffer[] = []
    const mailboxes = new MemoryMailboxes({
      limits: LIMITS,
      budget: BUDGET,
      randomBytes(size) {
        drawn.push(randomBytes(size))
        return Buffer.from(drawn.at(-1)!)
      },
    })
    const ids = ['m', 'm', 'n'].map((box, n) => idOf(mailboxes.put(box, bytes('text'), n)))
    expect(ids).toEqual([0, 8, 16].map((at) => drawn[0]!.toString('hex', at, at + 8)))
  })

  it('erases expired messages, leased or not, and reports the next expiry', () => {
    const erased: Erased[] = []
    const mailboxes = new MemoryMailboxes({
      limits: LIMITS,
      budget: BUDGET,
      randomBytes,
      onErased: (reason) => erased.push(reason),
    })
    mailboxes.put('m', bytes('a'), 0)
    mailboxes.put('m', bytes('b'), 5_000)
    const references = lease(mailboxes, 'm', 1, 'lease', 6_000)
    expect(mailboxes.nextExpiry).toBe(10_000)
    mailboxes.expire(9_999)
    expect(erased).toEqual([])
    mailboxes.expire(10_000)
    expect(erased).toEqual(['expired'])
    expect(mailboxes.read(references[0]!)).toBeUndefined()
    expect(mailboxes.read(references[1]!)).toBeDefined()
    mailboxes.expire(15_000)
    expect(mailboxes.size).toMatchObject({ messages: 0, mailboxes: 0, bytes: 0 })
  })

  it('ignores a stale reference whose place a later message has taken', () => {
    const mailboxes = create()
    mailboxes.put('m', bytes('a'), 0)
    const [stale] = lease(mailboxes, 'm', 1, 'plain')
    mailboxes.wipe('m')
    mailboxes.put('m', bytes('b'), 0)
    take(mailboxes, 'm', 1, 'plain')
    mailboxes.taken(stale!, 1)
    expect(mailboxes.size.messages).toBe(1)
  })

  it('limits a subscription to its window, and notifies the subscriber when there is room again', () => {
    const calls: string[] = []
    const mailboxes = create()
    const own = subscriber(1, calls)
    expect(mailboxes.subscribe('m', own)).toBe(0)
    const ids = ['a', 'b', 'c', 'd'].map((text) => mailboxes.put('m', bytes(text), 0))
    expect(calls).toEqual(['waiting', 'waiting', 'waiting', 'waiting'])
    expect(take(mailboxes, 'm', 1, 'subscribe')).toEqual(['a', 'b', 'c'])
    expect(take(mailboxes, 'm', 1, 'subscribe')).toEqual([])
    ack(mailboxes, 'm', idOf(ids[1]!))
    expect(calls).toHaveLength(5)
    expect(take(mailboxes, 'm', 1, 'subscribe')).toEqual(['d'])
  })

  it('passes the mailbox and the messages leased by its subscription to the newest subscriber', () => {
    const older: string[] = []
    const mailboxes = create()
    for (const text of ['a', 'b', 'c']) mailboxes.put('m', bytes(text), 0)
    take(mailboxes, 'm', 1, 'lease', 0, { messages: 1, bytes: 1e6 })
    mailboxes.subscribe('m', subscriber(1, older))
    expect(take(mailboxes, 'm', 1, 'subscribe', 0, { messages: 1, bytes: 1e6 })).toEqual(['b'])
    expect(mailboxes.subscribe('m', subscriber(2))).toBe(2)
    expect(older).toContain('taken-over')
    expect(take(mailboxes, 'm', 2, 'subscribe')).toEqual(['b', 'c'])
    mailboxes.leave('m', 1)
    expect(take(mailboxes, 'm', 2, 'subscribe')).toEqual(['a'])
  })
})

describe('a subscription that is asked for again on its connection', () => {
  it('keeps its leases, and is not taken over', () => {
    const calls: string[] = []
    const mailboxes = create()
    const own = subscriber(1, calls)
    mailboxes.subscribe('m', own)
    for (const text of ['a', 'b', 'c', 'd']) mailboxes.put('m', bytes(text), 0)
    expect(take(mailboxes, 'm', 1, 'subscribe', 0, { messages: 2, bytes: 1e6 })).toEqual(['a', 'b'])
    expect(mailboxes.subscribe('m', subscriber(1, calls))).toBe(2)
    expect(calls).not.toContain('taken-over')
    expect(mailboxes.size.subscribers).toBe(1)
  })

  it('still counts what is unacknowledged: its window has no more room than before', () => {
    const mailboxes = create()
    mailboxes.subscribe('m', subscriber(1))
    for (const text of ['a', 'b', 'c', 'd', 'e']) mailboxes.put('m', bytes(text), 0)
    expect(take(mailboxes, 'm', 1, 'subscribe', 0, { messages: 2, bytes: 1e6 })).toEqual(['a', 'b'])
    mailboxes.subscribe('m', subscriber(1))
    expect(take(mailboxes, 'm', 1, 'subscribe')).toEqual(['c'])
    mailboxes.subscribe('m', subscriber(1))
    expect(take(mailboxes, 'm', 1, 'subscribe')).toEqual([])
  })

  it('counts what the connection leased by a GET before, too', () => {
    const mailboxes = create()
    for (const text of ['a', 'b', 'c', 'd', 'e']) mailboxes.put('m', bytes(text), 0)
    expect(take(mailboxes, 'm', 1, 'lease', 0, { messages: 2, bytes: 1e6 })).toEqual(['a', 'b'])
    mailboxes.subscribe('m', subscriber(1))
    expect(take(mailboxes, 'm', 1, 'subscribe')).toEqual(['c'])
  })
})

describe('messages of strangers', () => {
  const put = (mailboxes: MemoryMailboxes, id: string, isStranger: boolean): string => {
    const result = mailboxes.put(id, bytes('text'), 0, { isStranger })
    return 'refused' in result ? result.refused : 'held'
  }
  const cost = footprint(4) + MESSAGE_BYTES

  it('have 32 places in a mailbox, and their erasure frees them', () => {
    const mailboxes = create(DEFAULT_LIMITS, 2 ** 20)
    for (let n = 0; n < STRANGER_LIMITS.mailboxMessages; n++) expect(put(mailboxes, 'm', true)).toBe('held')
    expect([put(mailboxes, 'm', true), put(mailboxes, 'm', false)]).toEqual(['mailbox-full', 'held'])
    const [first] = lease(mailboxes, 'm', 1, 'plain', 0, { messages: 1, bytes: 1e6 })
    mailboxes.taken(first!, 1)
    expect([put(mailboxes, 'm', true), put(mailboxes, 'm', true)]).toEqual(['held', 'mailbox-full'])
  })

  it('take an eighth of the memory at most, to the byte, and their erasure frees it', () => {
    const mailboxes = create(LIMITS, (3 * cost) / STRANGER_LIMITS.share)
    for (const id of ['m', 'n', 'o']) expect(put(mailboxes, id, true)).toBe('held')
    expect([put(mailboxes, 'm', true), put(mailboxes, 'm', false)]).toEqual(['relay-full', 'held'])
    mailboxes.wipe('n')
    expect([put(mailboxes, 'm', true), put(mailboxes, 'm', true)]).toEqual(['held', 'relay-full'])
  })
})

describe('a message that its reader no longer has', () => {
  it('is not erased when the write to its former connection ends', () => {
    const mailboxes = create()
    mailboxes.put('m', bytes('a'), 0)
    const [reference] = lease(mailboxes, 'm', 1, 'plain')
    mailboxes.leave('m', 1)
    mailboxes.taken(reference!, 1)
    expect(lease(mailboxes, 'm', 2, 'plain')).toEqual([reference])
    mailboxes.taken(reference!, 1)
    expect(mailboxes.size.messages).toBe(1)
    mailboxes.taken(reference!, 2)
    expect(mailboxes.size.messages).toBe(0)
  })

  it('is erased by its whole id only', () => {
    const mailboxes = create()
    const put = mailboxes.put('m', bytes('a'), 0)
    if ('refused' in put) throw new Error(put.refused)
    expect(mailboxes.ack('m', put.high ^ 1, put.low)).toBe(false)
    expect(mailboxes.ack('m', put.high, put.low ^ 1)).toBe(false)
    expect(mailboxes.ack('m', put.high, put.low)).toBe(true)
  })

  it('leaves its id nowhere: the object that `read` lends holds it no longer', () => {
    const mailboxes = create()
    const id = idOf(mailboxes.put('m', bytes('a'), 0))
    const [reference] = lease(mailboxes, 'm', 1, 'lease')
    const lent = mailboxes.read(reference!)!
    expect(idOf(lent)).toBe(id)
    ack(mailboxes, 'm', id)
    expect([lent.high, lent.low]).toEqual([0, 0])
  })
})

describe('handing over a mailbox', () => {
  const fill = (mailboxes: MemoryMailboxes): string[] =>
    ['a', 'b', 'c', 'd'].map((text, i) => idOf(mailboxes.put(i % 2 === 0 ? 'm' : 'n', bytes(text), i * 1_000)))
  const move = (from: MemoryMailboxes, to: MemoryMailboxes, now: number, later = now): MemoryMailboxes => {
    for (const message of from.held(now)) to.restore(message, later)
    return to
  }

  it('keeps order, ids and remaining time, and makes leased messages wait again', () => {
    const older = create()
    const ids = fill(older)
    take(older, 'm', 1, 'lease', 4_000, { messages: 1, bytes: 1e6 })
    older.subscribe('n', subscriber(2))
    take(older, 'n', 2, 'subscribe', 4_000)
    // The other relay's clock may differ.
    const newer = move(older, create(), 4_000, 1_004_000)
    expect(newer.size).toMatchObject({ mailboxes: 2, messages: 4, subscribers: 0 })
    expect(newer.nextExpiry).toBe(1_010_000)
    expect(lease(newer, 'm', 1, 'lease', 1_004_000).map((reference) => idOf(newer.read(reference)!))).toEqual([ids[0], ids[2]])
    expect(ack(newer, 'n', ids[3]!)).toBe(true)
    expect(take(newer, 'n', 1, 'lease', 1_010_999)).toEqual(['b'])
    expect(take(newer, 'n', 2, 'lease', 1_011_000)).toEqual([])
    expect(older.size.messages).toBe(4)
  })

  it('puts new messages behind the restored ones', () => {
    const newer = move(create(), create(), 0)
    fill(newer)
    const newest = move(newer, create(), 4_000)
    newest.put('m', bytes('e'), 4_000)
    expect(take(newest, 'm', 1, 'lease', 4_000)).toEqual(['a', 'c', 'e'])
  })

  it('restores messages beyond the quota, but none beyond the budget', () => {
    const older = create()
    fill(older)
    const budget = older.size.bytes
    const newer = move(older, create({ ...LIMITS, mailboxMessages: 1 }, budget), 4_000)
    expect(newer.size).toMatchObject({ messages: 4, bytes: budget })
    expect(newer.put('m', bytes('e'), 4_000)).toEqual({ refused: 'mailbox-full' })
    expect(newer.put('o', bytes('e'), 4_000)).toEqual({ refused: 'relay-full' })
    const small = create(LIMITS, budget - 1)
    expect([...older.held(4_000)].map((message) => small.restore(message, 4_000))).toEqual([true, true, true, false])
    expect(small.size.messages).toBe(3)
  })

  it("holds no message longer than the new relay's own limit, so that messages still expire in order", () => {
    const older = create()
    fill(older)
    const newer = move(older, create({ ...LIMITS, holdSeconds: 2 }), 3_000)
    newer.put('m', bytes('e'), 4_000)
    newer.expire(5_000)
    expect(newer.size.messages).toBe(1)
    newer.expire(6_000)
    expect(newer.size.messages).toBe(0)
  })

  it('ends the iteration if the messages are erased in the meantime', () => {
    const mailboxes = create()
    fill(mailboxes)
    const held = mailboxes.held(4_000)
    expect(held.next().done).toBe(false)
    mailboxes.eraseAll()
    expect(held.next().done).toBe(true)
    mailboxes.put('m', bytes('f'), 4_000)
    expect([...mailboxes.held(4_000)]).toHaveLength(1)
  })
})

/**
 * Runs random commands against a list as the model: no message is lost, none is delivered twice while leased,
 * order holds, and each command answers as the model does.
 */
describe('mailbox against a model', () => {
  interface Held {
    readonly id: string
    readonly text: string
    readonly expires: number
    lease?: { owner: number; kind: Lease }
  }

  const owners = fc.integer({ min: 1, max: 3 })
  const ids = fc.constantFrom('m', 'n')
  const command = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('put'), id: ids, length: fc.integer({ min: 1, max: 900 }) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('take'),
        id: ids,
        owner: owners,
        kind: fc.constantFrom<Lease>('subscribe', 'lease', 'plain'),
        messages: fc.integer({ min: 1, max: 4 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('written'), id: ids, owner: owners }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('ack'), id: ids, which: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wipe'), id: ids }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('subscribe'), id: ids, owner: owners }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('leave'), id: ids, owner: owners }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('hand over') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.integer({ min: 1, max: 6_000 }) }) },
  )

  it('loses and duplicates no message', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 120 }), (commands) => {
        let mailboxes = create()
        const model: Record<string, { held: Held[]; subscriber?: number }> = { m: { held: [] }, n: { held: [] } }
        const inFlight: { id: string; owner: number; reference: number }[] = []
        let now = 0
        let count = 0
        const used = (): number =>
          Object.values(model).reduce(
            (sum, { held, subscriber }) =>
              held.reduce((bytes, { text }) => bytes + footprint(text.length) + MESSAGE_BYTES, sum) +
              (held.length > 0 || subscriber !== undefined ? MAILBOX_BYTES : 0),
            0,
          )
        for (const step of commands) {
          for (const box of Object.values(model)) box.held = box.held.filter(({ expires }) => expires > now)
          mailboxes.expire(now)
          const box = 'id' in step ? model[step.id]! : undefined
          const leased = (owner: number): Held[] => box!.held.filter(({ lease }) => lease?.owner === owner)
          switch (step.do) {
            case 'put': {
              const { id, length } = step as { id: string; length: number }
              const text = `${count++}:`.padEnd(length, 'x')
              const opens = box!.held.length === 0 && box!.subscriber === undefined ? MAILBOX_BYTES : 0
              const cost = footprint(text.length) + MESSAGE_BYTES + opens
              const expected = box!.held.length >= LIMITS.mailboxMessages ? 'mailbox-full' : used() + cost > BUDGET ? 'relay-full' : 'held'
              const result = mailboxes.put(id, bytes(text), now)
              expect('refused' in result ? result.refused : 'held').toBe(expected)
              if (!('refused' in result)) box!.held.push({ id: idOf(result), text, expires: now + LIMITS.holdSeconds * 1_000 })
              break
            }
            case 'take': {
              const { id, owner, kind, messages } = step as { id: string; owner: number; kind: Lease; messages: number }
              // A connection takes for a subscription only while it holds that subscription.
              if (kind === 'subscribe' && box!.subscriber !== owner) break
              const room = kind === 'subscribe' ? LIMITS.window - leased(owner).length : Infinity
              const expected = box!.held.filter(({ lease }) => lease === undefined).slice(0, Math.max(0, Math.min(messages, room)))
              const references = lease(mailboxes, id, owner, kind, now, { messages, bytes: 1e6 })
              const waiting = mailboxes.waiting(id)
              expect(references.map((reference) => idOf(mailboxes.read(reference)!))).toEqual(expected.map(({ id: message }) => message))
              for (const [index, held] of expected.entries()) {
                held.lease = { owner, kind }
                if (kind === 'plain') inFlight.push({ id, owner, reference: references[index]! })
              }
              expect(waiting).toBe(box!.held.filter(({ lease }) => lease === undefined).length)
              break
            }
            case 'written': {
              const { id, owner } = step as { id: string; owner: number }
              const written = inFlight.filter((entry) => entry.id === id && entry.owner === owner)
              for (const { reference } of written) mailboxes.taken(reference, owner)
              for (const entry of written) inFlight.splice(inFlight.indexOf(entry), 1)
              box!.held = box!.held.filter(({ lease }) => !(lease?.owner === owner && lease.kind === 'plain'))
              break
            }
            case 'ack': {
              const { id, which } = step as { id: string; which: number }
              const held = box!.held[which]
              const message = held?.id ?? '0123456789abcdef'
              expect(ack(mailboxes, id, message)).toBe(held !== undefined)
              box!.held = box!.held.filter((each) => each !== held)
              break
            }
            case 'wipe': {
              const { id } = step as { id: string }
              expect(mailboxes.wipe(id)).toBe(box!.held.length)
              box!.held = []
              break
            }
            case 'subscribe': {
              const { id, owner } = step as { id: string; owner: number }
              if (box!.subscriber !== undefined && box!.subscriber !== owner) {
                for (const held of leased(box!.subscriber)) if (held.lease!.kind === 'subscribe') delete held.lease
              }
              box!.subscriber = owner
              expect(mailboxes.subscribe(id, subscriber(owner))).toBe(box!.held.filter(({ lease }) => lease === undefined).length)
              break
            }
            case 'leave': {
              const { id, owner } = step as { id: string; owner: number }
              mailboxes.leave(id, owner)
              for (const held of leased(owner)) delete held.lease
              if (box!.subscriber === owner) delete box!.subscriber
              // The connection is gone, so none of its messages will be written.
              for (const entry of inFlight.filter((each) => each.id === id && each.owner === owner)) {
                inFlight.splice(inFlight.indexOf(entry), 1)
              }
              break
            }
            case 'hand over': {
              const newer = create()
              for (const message of mailboxes.held(now)) newer.restore(message, now)
              mailboxes = newer
              for (const each of Object.values(model)) {
                delete each.subscriber
                for (const held of each.held) delete held.lease
              }
              inFlight.length = 0
              break
            }
            case 'wait':
              now += (step as { ms: number }).ms
              break
          }
        }
        for (const box of Object.values(model)) box.held = box.held.filter(({ expires }) => expires > now)
        mailboxes.expire(now)
        expect(mailboxes.size).toMatchObject({
          messages: Object.values(model).reduce((sum, { held }) => sum + held.length, 0),
          bytes: used(),
          subscribers: Object.values(model).filter((box) => box.subscriber !== undefined).length,
        })
        // The remaining messages come out in order, once, byte for byte.
        for (const [id, box] of Object.entries(model)) {
          for (const owner of [1, 2, 3]) mailboxes.leave(id, owner)
          expect(take(mailboxes, id, 9, 'lease', now)).toEqual(box.held.map(({ text }) => text))
        }
      }),
      { numRuns: 400 },
    )
  })
})
