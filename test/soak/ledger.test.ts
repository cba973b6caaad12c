import { describe, expect, test } from 'vitest'
import { Ledger } from './ledger.ts'

function sent(...ids: readonly string[]): Ledger {
  const ledger = new Ledger()
  for (const id of ids) ledger.sent(id, 'alice', 'bob', `text ${id}`)
  return ledger
}

test('a text that was shown once to its receiver is no problem', async () => {
  const ledger = sent('1')
  ledger.held('1')
  ledger.shown('1', 'bob', (content) => content === 'text 1')
  ledger.confirmed('1')
  expect(await ledger.settled(0)).toBe(true)
  expect(ledger.problems()).toEqual([])
})

test.each([
  ['with another content', 'bob was shown 1 with another content', (ledger: Ledger) => ledger.shown('1', 'bob', () => false)],
  ['to another person', 'carol was shown 1, which is for bob', (ledger: Ledger) => ledger.shown('1', 'carol')],
  ['that nobody sent', 'bob was shown 2, which was never sent', (ledger: Ledger) => ledger.shown('2', 'bob')],
])('a text that is shown %s is a problem', (_, problem, show) => {
  const ledger = sent('1')
  show(ledger)
  expect(ledger.problems()).toContain(problem)
})

describe('a text that was not shown', () => {
  const LOST = ['1 of alice never reached bob']

  test('is lost if its sender went on', async () => {
    const ledger = sent('1')
    expect(await ledger.settled(0)).toBe(false)
    expect(ledger.problems()).toEqual(LOST)
  })

  test('is lost if its sender died after a relay held it, and may be lost if the sender died before', () => {
    const ledger = sent('1')
    ledger.held('1')
    ledger.died('alice')
    expect(ledger.problems()).toEqual(LOST)
    const early = sent('1')
    early.died('alice')
    expect(early.problems()).toEqual([])
    expect(early.count).toEqual({ sent: 1, shown: 0, orphaned: 1 })
  })

  test('is no problem if the command that sent it reported a failure', () => {
    const ledger = sent('1')
    ledger.released('1')
    expect(ledger.problems()).toEqual([])
  })
})

describe('a text that is shown again', () => {
  test('is a problem', () => {
    const ledger = sent('1')
    ledger.shown('1', 'bob')
    ledger.shown('1', 'bob')
    expect(ledger.problems()).toEqual(['bob was shown 1 twice'])
  })

  test('is none if the receiver died before it confirmed the text, once for each death', () => {
    const ledger = sent('1')
    ledger.shown('1', 'bob')
    ledger.died('bob')
    ledger.shown('1', 'bob')
    expect(ledger.problems()).toEqual([])
    expect(ledger.repeats).toBe(1)
    ledger.shown('1', 'bob')
    expect(ledger.problems()).toEqual(['bob was shown 1 twice'])
  })

  test('is a problem if the receiver had confirmed it before it died', () => {
    const ledger = sent('1')
    ledger.shown('1', 'bob')
    ledger.confirmed('1')
    ledger.died('bob')
    ledger.shown('1', 'bob')
    expect(ledger.problems()).toEqual(['bob was shown 1 twice'])
  })
})

test('settled resolves with the last missing text', async () => {
  const ledger = sent('1', '2')
  const settled = ledger.settled(60)
  ledger.shown('1', 'bob')
  expect(ledger.missing()).toEqual(['2'])
  ledger.shown('2', 'bob')
  expect(await settled).toBe(true)
})

test('settled waits until the sender of a file knows that it arrived', async () => {
  const ledger = sent('f-1')
  ledger.shown('f-1', 'bob')
  let isSettled = false
  const settled = ledger.settled(60).then(() => (isSettled = true))
  await new Promise((resolve) => setImmediate(resolve))
  expect(isSettled).toBe(false)
  ledger.confirmed('f-1')
  expect(await settled).toBe(true)
})
