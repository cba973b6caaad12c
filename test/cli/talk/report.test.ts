/** How a received message is read and reported. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Groups } from '../../../src/cli/profile/groups.ts'
import { type Enclosed, formatReceived, readEnclosed, whenOf } from '../../../src/cli/talk/report.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import type { Content } from '../../../src/client/format/content.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import { makePerson } from '../../support/people.ts'
import { createVillage, type Person, type Village } from '../../support/village.ts'

test('the time of a message has a date unless it is of today', () => {
  const at = new Date(2026, 0, 5, 7, 8).getTime()
  expect(whenOf(at / 1_000, at)).toBe('07:08')
  expect(whenOf(at / 1_000, new Date(2026, 0, 6, 7, 8).getTime())).toBe('2026-01-05 07:08')
})

test('a broken card is reported, but no error of the program counts as one', async () => {
  const { key } = makePerson('bob')
  const received = (content: unknown): Received => ({
    verdict: 'genuine',
    envelope: { id: 'a', from: key, to: '', time: 0, content: content as Content },
    relay: 'localhost',
    done: async () => {},
  })
  const read = (content: unknown) => readEnclosed(received(content), { withId: () => [] } as unknown as Groups, key)
  expect(await read({ type: 'card', card: 'no card' })).toMatchObject({ isBroken: true })
  expect(await read({ type: 'group', card: 'no group' })).toMatchObject({ isBroken: true })
  await expect(read({ type: 'card', card: undefined })).rejects.toThrow(TypeError)
})

describe('the line of a message', () => {
  let village: Village
  let alice: Person
  let bob: Person
  beforeEach(async () => {
    village = createVillage()
    bob = await village.add('bob')
    alice = await village.add('alice', [bob])
  })
  afterEach(() => village.remove())

  const carol = makePerson('carol')
  const TIME = Date.UTC(2026, 10, 26, 12) / 1_000
  const FORMATTED = '2026-11-26T12:00:00Z'

  function format(received: Partial<Received>, { by = bob.identity.key, enclosed = {} as Enclosed } = {}): string | undefined {
    const envelope = { id: 'a', from: by, to: '', time: TIME, content: { type: 'text', text: 'hi' } } as const
    const whole = { verdict: 'genuine', envelope, relay: 'localhost', done: async () => {}, ...received }
    return formatReceived(whole as Received, enclosed, alice.people.book).text
  }

  test('names the contact, and a person who is none by the fingerprint', () => {
    expect(format({ from: alice.people.book.need('bob') })).toBe('bob: hi\n')
    const stranger = fingerprintOf(carol.key)
    expect(format({}, { by: carol.key })).toBe(`${stranger} [not a contact]: hi\n`)
  })

  test('names the contact that a message claims to be from as a claim only', () => {
    expect(format({ verdict: 'forged' })).toBe('[forged: it claims to be from bob, but is not]: hi\n')
    expect(format({ verdict: 'unverifiable' })).toBe('[it claims to be from bob; its signature cannot be checked here]: hi\n')
    expect(format({ verdict: 'readdressed' })).toBe('[written by bob to someone else, and passed on by a stranger]: hi\n')
  })

  test('has each remark in brackets behind the name', () => {
    const from = alice.people.book.need('bob')
    expect(format({ from, verdict: 'future' })).toBe(`bob [dated in the future, ${FORMATTED}: their clock or yours is wrong]: hi\n`)
    expect(format({ from, verdict: 'stale' })).toBe(`bob [old, from ${FORMATTED}: it may be a replay]: hi\n`)
    expect(format({ from, gap: true, late: true })).toBe(
      'bob [the message before it is missing] [late: newer messages came before it]: hi\n',
    )
    expect(format({ from, gap: true }, { enclosed: { remark: 'a remark' } as Enclosed })).toBe(
      'bob [a remark] [the message before it is missing]: hi\n',
    )
  })

  test('is a note without a text if nothing can be shown', () => {
    const note = (verdict: Received['verdict']): unknown =>
      formatReceived({ verdict, relay: 'localhost', done: async () => {} } as Received, {} as Enclosed, alice.people.book)
    expect(['unreadable', 'unknown-version', 'truncated', 'malformed'].map((verdict) => note(verdict as Received['verdict']))).toEqual([
      { note: 'dropped a message that this key cannot decrypt' },
      { note: 'dropped a message of a version that this program does not know' },
      { note: 'dropped a message that was cut off' },
      { note: 'dropped a malformed message' },
    ])
  })

  test('of an unsigned text says that anyone may have written it', () => {
    const text = new TextEncoder().encode('hi\u{1b}[2J\nthere')
    expect(format({ verdict: 'unsigned', text })).toMatch(/^\[unsigned: anyone may have written this\]: hi\\u\{1b\}\[2J\n.*there\n$/)
  })
})
