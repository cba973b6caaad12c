/** The page and the chat say the same: the same modules give the words, the verdicts, the states and the order. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as chat from '../../src/cli/chat/wording.ts'
import { initialState as chatState } from '../../src/cli/chat/state.ts'
import { update } from '../../src/cli/chat/model.ts'
import { RelayError, type RelayErrorCode } from '../../src/client/wire/error.ts'
import { whyOf } from '../../src/page/check.ts'
import { initialState, withPeople } from '../../src/page/model.ts'
import { RELAY_ERRORS } from '../../src/wording/refusal.ts'

const ROOT = join(import.meta.dirname, '../../src')
const sharedBy = (folder: string): Set<string> =>
  new Set(
    globSync('**/*.{ts,tsx}', { cwd: join(ROOT, folder) }).flatMap((file) =>
      Array.from(readFileSync(join(ROOT, folder, file), 'utf8').matchAll(/'[./]*\/wording\/(\w+)\.ts'/g), ([, name]) => name!),
    ),
  )

test('both import the modules of names, verdicts, states, errors, contents, order and figures', () => {
  const both = [...sharedBy('page')].filter((name) => sharedBy('cli/chat').has(name))
  for (const name of ['content', 'delivery', 'figures', 'name', 'order', 'verdict']) expect(both).toContain(name)
  for (const folder of ['page', 'cli/talk']) expect([...sharedBy(folder)]).toContain('refusal')
})

test('neither has a list of verdicts or states of its own', () => {
  for (const folder of ['page', 'cli/chat'])
    for (const file of globSync('**/*.{ts,tsx}', { cwd: join(ROOT, folder) }))
      expect(readFileSync(join(ROOT, folder, file), 'utf8')).not.toMatch(/'readdressed: |'waiting' \| 'held'|its hash is wrong/)
})

test.each(Object.keys(RELAY_ERRORS) as RelayErrorCode[])('both explain the error %s in the same words', (code) => {
  const error = new RelayError(code)
  expect(whyOf(error)).toBe(chat.describeError(error))
})

describe('the order of conversations', () => {
  test('is the same: people by name, then requests by name', () => {
    const parties = (
      [
        ['request', 'Zoe'],
        ['contact', 'carol'],
        ['request', 'Adam'],
        ['contact', 'Bob'],
        ['contact', 'Alice'],
      ] as const
    ).map(([kind, name], n) => ({ id: `${n}`, kind, name, verified: false }))
    const me = initialState({ name: 'me', link: '', fingerprint: '', relays: [] })
    const inPage = withPeople(
      me,
      parties.map((each) => ({ ...each, blocked: false })),
    ).conversations
    const state = chatState({ me: 'me', look: { ascii: false }, size: { columns: 80, rows: 24 }, receipts: false })
    const inChat = update(state, { kind: 'people', parties }, 0).state.conversations
    expect(inPage.map(({ name }) => name)).toEqual(inChat.map(({ name }) => name))
    expect(inPage.map(({ name }) => name)).toEqual(['Alice', 'Bob', 'carol', 'Adam', 'Zoe'])
  })
})
