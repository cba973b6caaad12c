/** The deliveries of a messenger: which changes they report, and which ones they still know. */
import { describe, expect, test } from 'vitest'
import { OUTBOX } from '../../../src/client/delivery/entry.ts'
import { Deliveries } from '../../../src/client/messenger/delivery.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { makePerson } from '../../support/people.ts'

const BOB = makePerson('bob', 'one.onion', 'two.onion')
const TEXT = { type: 'text', text: 'hello' } as const

function add(id = 'a') {
  const deliveries = new Deliveries()
  return { deliveries, delivery: deliveries.add(id, BOB, TEXT) }
}

describe('a delivery', () => {
  test('is accepted by the first relay, settled by the receipt, and then may only be read', async () => {
    const { deliveries, delivery } = add()
    expect(delivery).toMatchObject({ state: 'waiting', held: false, relays: BOB.relays, relay: undefined, protection: undefined })
    expect(deliveries.change({ id: 'a', state: 'held', relay: 'one.onion' })).toBe(delivery)
    expect(await delivery.accepted).toBe('held')
    expect(delivery).toMatchObject({ state: 'held', held: true, relay: 'one.onion' })
    expect(deliveries.change({ id: 'a', state: 'delivered' })).toBe(delivery)
    expect(await delivery.settled).toBe('delivered')
    expect(delivery).toMatchObject({ state: 'delivered', held: true, relay: 'one.onion' })
    for (const state of ['held', 'failed', 'delivered', 'waiting'] as const) expect(deliveries.change({ id: 'a', state })).toBeUndefined()
    expect(deliveries.change({ id: 'a', state: 'read' })).toBe(delivery)
    expect(deliveries.change({ id: 'a', state: 'read' })).toBeUndefined()
    expect([await delivery.accepted, await delivery.settled, delivery.state]).toEqual(['held', 'delivered', 'read'])
  })

  test('that fails was not held, and nothing follows', async () => {
    const { deliveries, delivery } = add()
    deliveries.change({ id: 'a', state: 'failed', error: new RelayError('too-large') })
    expect([await delivery.accepted, await delivery.settled]).toEqual(['failed', 'failed'])
    expect(delivery).toMatchObject({ state: 'failed', held: false, error: new RelayError('too-large') })
    expect(deliveries.change({ id: 'a', state: 'read' })).toBeUndefined()
  })

  test('reports a change of the state, the relay or the error, and nothing twice', () => {
    const { deliveries, delivery } = add()
    const change = (relay: string | undefined, error?: unknown): boolean =>
      deliveries.change({ id: 'a', state: 'waiting', ...(relay !== undefined && { relay }), error }) !== undefined
    expect(change(undefined)).toBe(false)
    expect(change(undefined, new RelayError('unreachable'))).toBe(true)
    expect(change(undefined, new RelayError('unreachable'))).toBe(false)
    expect(change(undefined, new RelayError('mailbox-full'))).toBe(true)
    expect(change('one.onion', new RelayError('mailbox-full'))).toBe(true)
    expect(change('one.onion', new RelayError('mailbox-full'))).toBe(false)
    expect(change('two.onion')).toBe(true)
    expect(delivery).toMatchObject({ relay: 'two.onion', error: undefined })
  })

  test('shows the protection and the relays of its latest text', () => {
    const { deliveries, delivery } = add()
    deliveries.protect('a', 'daily', ['three.onion'])
    expect(delivery).toMatchObject({ protection: 'daily', relays: ['three.onion'] })
    deliveries.change({ id: 'a', state: 'held', protection: 'one-time', relays: ['four.onion'] })
    deliveries.change({ id: 'a', state: 'delivered' })
    expect(delivery).toMatchObject({ protection: 'one-time', relays: ['four.onion'] })
  })
})

describe('the deliveries', () => {
  test('know one while it is unsettled, and while it may be read', () => {
    const { deliveries, delivery } = add()
    const known = () => [deliveries.has('a'), deliveries.find('a') === delivery, deliveries.list().length]
    expect(known()).toEqual([true, true, 1])
    deliveries.change({ id: 'a', state: 'delivered' })
    expect(known()).toEqual([true, false, 0])
    deliveries.change({ id: 'a', state: 'read' })
    expect(known()).toEqual([false, false, 0])
    deliveries.add('b', BOB, TEXT)
    deliveries.change({ id: 'b', state: 'expired' })
    expect(deliveries.has('b')).toBe(false)
    expect([deliveries.has('c'), deliveries.change({ id: 'c', state: 'held' })]).toEqual([false, undefined])
  })

  test('forget the oldest of too many that may be read', () => {
    const deliveries = new Deliveries()
    for (let n = 0; n <= OUTBOX.confirmed; n++) {
      deliveries.add(String(n), BOB, TEXT)
      deliveries.change({ id: String(n), state: 'delivered' })
    }
    expect([0, 1, OUTBOX.confirmed].map((n) => deliveries.has(String(n)))).toEqual([false, true, true])
  })

  test('end with their states if the messenger closes', async () => {
    const { deliveries, delivery } = add()
    deliveries.change({ id: 'a', state: 'held', relay: 'one.onion' })
    const other = deliveries.add('b', BOB, undefined)
    deliveries.close()
    expect([await delivery.settled, await other.accepted, await other.settled]).toEqual(['held', 'waiting', 'waiting'])
  })
})
