/** The inbox on a contact's card: how the book learns it, and what happens if another card names another one. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parsePrivateKey } from '../../../src/auth/private-key.ts'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import type { SshKey } from '../../../src/auth/ssh-key.ts'
import { runCommand } from '../../../src/cli/command.ts'
import { makeBundle } from '../../../src/client/format/bundle.ts'
import { type Card, type CardVersion, makeCard } from '../../../src/client/format/card.ts'
import { fingerprintOf, formatKey, makeId } from '../../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { encodeMessage } from '../../../src/client/format/message.ts'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { createTestIo } from '../../support/terminal.ts'

const NOW = Math.floor(Date.now() / 1_000)
const bob = identityOf(generateSeedKey())
const inboxes = [identityOf(generateSeedKey()), identityOf(generateSeedKey())] as const
const [one, two] = [inboxes[0].key, inboxes[1].key]

let root: string
let relay: TestRelay
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-sent-card-'))
  relay = await startTestRelay()
  await as('me', '--name', 'Alice', '--relay', `localhost:${relay.port}`, '--public', 'yes')
})
afterEach(async () => {
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

const as = (...argv: readonly string[]): Promise<Outcome> => asfaleia(argv, { env: { ASFALEIA_HOME: root } })
const alice = (): Identity => identityOf(parsePrivateKey(readFileSync(join(root, 'key'))))
const stored = (): string => readFileSync(join(root, 'contacts', 'Bob'), 'utf8')
const cardOf = (time: number, inbox?: SshKey, version: CardVersion = 2, relays = [`localhost:${relay.port}`]): Promise<Card> =>
  makeCard(bob, { name: 'Bob', relays, time, version, ...(inbox !== undefined && { inbox }) })
const add = (card: Card, ...more: readonly string[]): Promise<Outcome> => as('contact', 'add', card.link, ...more)
const shown = async (): Promise<unknown> => (JSON.parse((await as('contact', 'show', 'bob', '--json')).out) as { inbox?: unknown }).inbox

/** Puts a message of Bob with his card into Alice's mailbox. @param by who signs it */
async function put(card: Card, by = bob): Promise<void> {
  for (const inbox of inboxes) {
    // Alice's receipts go there.
    using client = await connectRelay({ relay: relay.address, identity: inbox })
    const { text } = await makeBundle(inbox, { encrypt: hybridKey(new Uint8Array(32)).recipient, now: NOW })
    await client.publish(text)
  }
  using client = await connectRelay({ relay: relay.address, identity: by })
  const content = { type: 'text', text: 'hi' } as const
  const facts = { to: alice(), id: makeId(), time: NOW, content, card: card.link }
  await client.sendSealed(alice().key, await encodeMessage(by, facts))
}

describe('contact add', () => {
  test('stores the inbox, and contact show prints its fingerprint', async () => {
    await add(await cardOf(NOW, one))
    expect((await as('contact', 'show', 'bob')).out).toContain(`inbox:       ${fingerprintOf(one)}\n`)
    expect(await shown()).toBe(fingerprintOf(one))
  })

  test('takes the inbox of a newer card if there was none', async () => {
    await add(await cardOf(NOW, undefined, 1))
    expect(await shown()).toBeUndefined()
    expect(await add(await cardOf(NOW + 1, one))).toMatchObject({
      code: 0,
      out: `Bob has a newer card:\n  inbox: none → ${fingerprintOf(one)}\n`,
    })
    expect(await shown()).toBe(fingerprintOf(one))
  })

  test.each([
    ['another inbox', two, 2],
    ['no inbox', undefined, 2],
    ['no inbox, because it is of version 1', undefined, 1],
  ] as const)('refuses a newer card with %s, unless the user agrees', async (_what, inbox, version) => {
    await add(await cardOf(NOW, one))
    const before = stored()
    const newer = await cardOf(NOW + 1, inbox, version)
    const after = inbox === undefined ? 'none' : fingerprintOf(inbox)
    const refused = await add(newer)
    expect(refused).toMatchObject({ code: 1, out: '' })
    expect(refused.err).toContain(`inbox, so nothing was changed: ${fingerprintOf(one)} → ${after}\n`)
    expect(refused.err).toContain('--new-inbox')
    expect(stored()).toBe(before)
    // `send LINK` does not change it either.
    expect(await as('send', newer.link, 'hi')).toMatchObject({ code: 1, err: expect.stringContaining('nothing was changed') as string })
    expect(stored()).toBe(before)
    expect(await add(newer, '--new-inbox')).toMatchObject({
      code: 0,
      out: `Bob has a newer card:\n  inbox: ${fingerprintOf(one)} → ${after}\n`,
    })
    expect(await shown()).toBe(inbox === undefined ? undefined : after)
  })

  test('accepts a newer card with the same inbox as before', async () => {
    await add(await cardOf(NOW, one))
    expect(await add(await cardOf(NOW + 1, one))).toMatchObject({ code: 0, out: 'Bob has a newer card with the same content\n' })
  })
})

describe('a card in a message', () => {
  test.each([
    ['a card of version 1', async () => void (await add(await cardOf(NOW - 9, undefined, 1)))],
    ['a card of version 2 without an inbox', async () => void (await add(await cardOf(NOW - 9)))],
    [
      'a bare key',
      async () => void (await as('contact', 'add', formatKey(bob.key), '--name', 'Bob', '--relay', `localhost:${relay.port}`)),
    ],
  ])('gives the inbox to a contact with %s', async (_what, begin) => {
    await begin()
    const card = await cardOf(NOW, one)
    await put(card)
    expect(await as('get')).toMatchObject({ code: 0, out: 'Bob: hi\n', err: '' })
    expect(stored()).toContain(card.text)
    expect(await shown()).toBe(fingerprintOf(one))
  })

  test('keeps the fields that the user wrote', async () => {
    await add(await cardOf(NOW - 9, undefined, 1))
    writeFileSync(join(root, 'contacts', 'Bob'), `${stored()}# from the bakery\n`)
    await put(await cardOf(NOW, one))
    await as('get')
    expect(stored()).toContain('# from the bakery\n')
  })

  test.each([
    ['is older', () => cardOf(NOW - 99, one), bob],
    ['is as old', () => cardOf(NOW - 9, one), bob],
    ['names no inbox', () => cardOf(NOW), bob],
  ] as const)('gives no inbox if it %s', async (_what, make, by) => {
    await add(await cardOf(NOW - 9, undefined, 1))
    const before = stored()
    await put(await make(), by)
    await as('get')
    expect(stored().replace(/^met: .*\n/m, '')).toBe(before)
  })

  test('gives no inbox to another contact than its sender', async () => {
    const carol = identityOf(generateSeedKey())
    await add(await cardOf(NOW - 9, undefined, 1))
    const { link } = await makeCard(carol, { name: 'Carol', relays: [`localhost:${relay.port}`], time: NOW })
    await as('contact', 'add', link)
    await put(await cardOf(NOW, one), carol)
    expect((await as('get')).out).toBe('Carol: hi\n')
    expect(await shown()).toBeUndefined()
  })

  test('with another inbox changes nothing, and the user is told once', async () => {
    await add(await cardOf(NOW - 9, one))
    const before = stored()
    const card = await cardOf(NOW, two)
    await put(card)
    await put(card)
    const { out, err } = await as('get')
    expect(out).toBe('Bob: hi\nBob: hi\n')
    expect(err.split('\n').filter((line) => line.includes('another inbox'))).toEqual([
      `asfaleia: Bob sent a card with another inbox. Ask them over another channel whether it is theirs; if so: asfaleia contact add ${card.link} --new-inbox`,
    ])
    expect(stored().replace(/^met: .*\n/m, '')).toBe(before)
    expect(await shown()).toBe(fingerprintOf(one))
  })

  test.each([
    ['names the inbox of the contact', () => cardOf(NOW, one)],
    ['names no inbox', () => cardOf(NOW)],
    ['names another inbox, and is older than that of the contact', () => cardOf(NOW - 10, two)],
    ['names another inbox, and is as old as that of the contact', () => cardOf(NOW - 9, two)],
  ] as const)('is no reason for a warning if it %s', async (_what, make) => {
    await add(await cardOf(NOW - 9, one))
    await put(await make())
    const { out, err } = await as('get')
    expect(out).toBe('Bob: hi\n')
    expect(err).not.toContain('another inbox')
    expect(await shown()).toBe(fingerprintOf(one))
  })

  test('with another inbox is told in the chat, too', async () => {
    await add(await cardOf(NOW - 9, one))
    await put(await cardOf(NOW, two))
    const io = createTestIo({ ASFALEIA_HOME: root })
    const code = runCommand(['chat', '--plain'], io)
    const deadline = performance.now() + 15_000
    while (!io.out().includes('sent a card with another inbox') && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20))
    io.stdin.end()
    await code
    expect(io.out()).toContain('Bob sent a card with another inbox')
    expect(await shown()).toBe(fingerprintOf(one))
  })
})
