/** `asfaleia me` and the relays: the inbox key, `public` and `member` in the profile, and which relays a card names. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { parseSeedFile } from '../../../src/auth/seed.ts'
import { type Card, parseCard } from '../../../src/client/format/card.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { run } from '../../support/process.ts'
import { startTestRelay } from '../../support/relay.ts'

const MAIN = join(import.meta.dirname, '../../../src/cli/main.ts')
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const TWO = ['--relay', ONION, '--relay', 'localhost:4000'] as const
const UNREACHED = `asfaleia: warning: your relay was not reached: nothing listens at the SOCKS port
asfaleia: hint: people whom you have not met can write to you once \`asfaleia get\` or \`asfaleia chat\` has reached it
`
const REFUSED = 'warning: your relay has no key of yours for first messages: the relay has no memory left'
const LEARN = 'your relays now learn your SSH key'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asf-me-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const file = (name: string): string => join(root, 'alice', name)
const profile = (): string => readFileSync(file('profile'), 'utf8')
const me = (...argv: readonly string[]): Promise<Outcome> => asfaleia(['me', ...argv], { env: { ASFALEIA_HOME: join(root, 'alice') } })
async function cardOf(...argv: readonly string[]): Promise<Card> {
  const { code, out, err } = await me(...argv)
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' })
  return parseCard(out.trim())
}
const inboxOf = (): string => fingerprintOf(parseSeedFile(readFileSync(file('inbox'), 'latin1')).public)
function makeKeyFile(): string {
  const path = join(root, 'mine')
  writeFileSync(path, generatePrivateKey('').file, { mode: 0o600 })
  return path
}
/** Turns the profile into one of an earlier version: without an inbox, and with a card without one. */
async function makeOlder(): Promise<Card> {
  // At a relay of members only there is no inbox.
  await cardOf('--public', 'yes', ...(await readRelays()).flatMap((relay) => ['--member', relay]))
  rmSync(file('inbox'))
  writeFileSync(file('profile'), profile().replaceAll(/^(?:public|member): .*\n/gm, ''))
  return parseCard(readFileSync(file('card'), 'utf8'))
}
const readRelays = async (): Promise<string[]> => [...profile().matchAll(/^relay: (.*)$/gm)].map(([, relay]) => relay!)

describe('a new profile', () => {
  test('has an inbox key for the user alone, and a card that names it at the first relay', async () => {
    const card = await cardOf('--name', 'Alice', ...TWO)
    expect(card).toMatchObject({ version: 2, relays: [ONION] })
    expect(fingerprintOf(card.inbox!)).toBe(inboxOf())
    expect(statSync(file('inbox')).mode & 0o777).toBe(0o600)
    expect(profile()).toBe(`name: Alice\nkey: key\nrelay: ${ONION}\nrelay: localhost:4000\npublic: no\n`)
    expect(JSON.parse((await me('--json')).out)).toMatchObject({ inbox: inboxOf(), relays: [ONION] })
  })

  test('with a key that people know is public, and the command says what relays learn', async () => {
    const { code, err } = await me('--name', 'Alice', ...TWO, '--key', makeKeyFile())
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining(LEARN) as string })
    expect(profile()).toContain('public: yes\n')
    const card = await cardOf()
    expect(card.relays).toEqual([ONION])
    expect(fingerprintOf(card.inbox!)).toBe(inboxOf())
  })

  test('with such a key is private if the user says so', async () => {
    const { err } = await me('--name', 'Alice', ...TWO, '--key', makeKeyFile(), '--public', 'no')
    expect(err).not.toContain(LEARN)
    expect(profile()).toContain('public: no\n')
    expect((await cardOf()).relays).toEqual([ONION])
  })

  test('with a card of version 1 is public', async () => {
    const { out, err } = await me('--name', 'Alice', ...TWO, '--card-version', '1')
    expect(err).toContain(LEARN)
    const card = await parseCard(out.trim())
    expect(card).toMatchObject({ version: 1, relays: [ONION, 'localhost:4000'] })
    expect(card.inbox).toBeUndefined()
    expect(profile()).toContain('public: yes\n')
  })
})

describe('the relay of the inbox', () => {
  test('gets the bundle, and the command is silent about it', async () => {
    const relay = await startTestRelay()
    onTestFinished(() => relay.close())
    const made = await me('--name', 'Alice', '--relay', `localhost:${relay.port}`)
    expect(made).toMatchObject({ code: 0, err: expect.not.stringContaining('warning') as string })
    expect(relay.relay.snapshot().bundles).toBe(1)
    expect(await me('--name', 'Al')).toMatchObject({ code: 0, err: '' })
    expect(relay.relay.snapshot().bundles).toBe(1)
  })

  test('may be down: a warning says so, and the card is there', async () => {
    const { code, out, err } = await me('--name', 'Alice', ...TWO)
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining(UNREACHED) as string })
    expect(await parseCard(out.trim())).toMatchObject({ version: 2 })
  })

  test('may refuse the bundle', async () => {
    const relay = await startTestRelay({ memory: 8_192 })
    onTestFinished(() => relay.close())
    const { code, err } = await me('--name', 'Alice', '--relay', `localhost:${relay.port}`)
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining(REFUSED) as string })
  })

  test.each([
    ['--card-version', '1'],
    ['--member', ONION],
  ])('is left alone if the card names no inbox (%s %s)', async (...options) => {
    const { code, err } = await me('--name', 'Alice', ...TWO, ...options)
    expect({ code, err }).toEqual({ code: 0, err: expect.not.stringContaining('warning') as string })
  })
})

test('--public changes the profile, and names the consequences', async () => {
  await cardOf('--name', 'Alice', ...TWO)
  const shown = await me('--public', 'yes')
  expect(shown.err).toContain(LEARN)
  expect(profile()).toContain('public: yes\n')
  expect((await me('--public', 'yes')).err).toBe(UNREACHED)
  const hidden = await me('--public', 'no')
  expect(hidden.err).toContain('can no longer reach you')
  expect(profile()).toContain('public: no\n')
  expect(hidden.out).toBe(shown.out)
  expect(await me('--public', 'maybe')).toMatchObject({ code: 2, err: expect.stringContaining('--public takes yes or no') as string })
  expect(await me('--public', 'no', '--card-version', '1')).toMatchObject({
    code: 2,
    err: expect.stringContaining('does not go together') as string,
  })
})

test('a private user has no card of version 1', async () => {
  await cardOf('--name', 'Alice', ...TWO, '--card-version', '1')
  expect((await cardOf()).version).toBe(1)
  expect(await cardOf('--public', 'no')).toMatchObject({ version: 2, relays: [ONION] })
})

test('--member marks relays that know the key; the first of them has no inbox; --no-member ends that', async () => {
  const begun = await cardOf('--name', 'Alice', ...TWO)
  expect((await cardOf('--member', 'localhost:4000')).text).toBe(begun.text)
  await cardOf('--no-member', 'localhost:4000')
  const marked = await me('--member', `${ONION.toUpperCase()}:3308`)
  expect(marked.err).toBe(`asfaleia: ${ONION} now learns your SSH key, when you are online, and to which mailboxes you write there\n`)
  const card = await parseCard(marked.out.trim())
  // People write to the key there, and at no relay that the client does not read with it.
  expect(card.relays).toEqual([ONION])
  expect(card.inbox).toBeUndefined()
  expect((await cardOf('--public', 'yes')).relays).toEqual([ONION, 'localhost:4000'])
  await cardOf('--public', 'no')
  const all = await cardOf('--member', 'localhost:4000')
  expect(all.relays).toEqual([ONION, 'localhost:4000'])
  expect(all.inbox).toBeUndefined()
  expect(profile()).toContain(`member: ${ONION}\nmember: localhost:4000\n`)
  expect((await me('--member', ONION)).err).toBe('')
  const again = await cardOf('--no-member', ONION)
  expect(again.relays).toEqual([ONION])
  expect(fingerprintOf(again.inbox!)).toBe(inboxOf())
  expect(await me('--no-member', ONION)).toMatchObject({
    code: 1,
    err: expect.stringContaining('marked are: localhost:4000') as string,
  })
  await cardOf('--no-member', 'localhost:4000')
  expect(profile()).not.toContain('member')
  expect((await me('--member', 'a b')).code).toBe(1)
})

describe('a profile of an earlier version', () => {
  test('gets an inbox with the next call, and stays public', async () => {
    await cardOf('--name', 'Alice', ...TWO)
    const older = await makeOlder()
    expect(older.inbox).toBeUndefined()
    const { out, err } = await me()
    expect(err).toBe(UNREACHED)
    const card = await parseCard(out.trim())
    expect(older.relays).toEqual([ONION, 'localhost:4000'])
    expect(card.relays).toEqual([ONION])
    expect(card.time).toBeGreaterThan(older.time)
    expect(fingerprintOf(card.inbox!)).toBe(inboxOf())
    expect(await me()).toEqual({ code: 0, out, err: '' })
    await me('--name', 'Al')
    expect(profile()).toContain('public: yes\n')
  })

  test('shows the card that exists if the key cannot sign now', async () => {
    await cardOf('--name', 'Alice', ...TWO)
    const older = await makeOlder()
    rmSync(file('key'))
    const { code, out, err } = await me()
    expect({ code, out }).toEqual({ code: 0, out: `${older.link}\n` })
    expect(err).toContain('warning: your card names no inbox yet')
  })

  test('shows the card that exists on a full disk', async () => {
    await cardOf('--name', 'Alice', ...TWO)
    const older = await makeOlder()
    // A file size limit of 0 has the effect of a full disk.
    const command = ['sh', '-c', 'ulimit -f 0; exec "$@"', 'sh', process.execPath, MAIN, 'me']
    expect(await run(command, { env: { ASFALEIA_HOME: join(root, 'alice') } })).toMatchObject({
      code: 0,
      stdout: `${older.link}\n`,
      stderr: '',
    })
    expect(existsSync(file('inbox'))).toBe(false)
  })

  test('is public if only its card is left', async () => {
    await cardOf('--name', 'Alice', ...TWO)
    await makeOlder()
    rmSync(file('profile'))
    expect((await me('--name', 'Alice', ...TWO)).err).toContain(LEARN)
    expect(profile()).toContain('public: yes\n')
  })
})

describe('the file of the inbox', () => {
  test.each([
    ['damaged', 'not a key\n', 0o600, 'it does not hold an ed25519 key without a passphrase'],
    ['readable for others', undefined, 0o644, 'other users may read the private key'],
  ] as const)('that is %s is named and stays', async (_what, text, mode, why) => {
    await cardOf('--name', 'Alice', ...TWO)
    if (text !== undefined) writeFileSync(file('inbox'), text)
    chmodSync(file('inbox'), mode)
    const before = readFileSync(file('inbox'), 'utf8')
    const { code, err } = await me()
    expect(code).toBe(1)
    expect(err).toContain(file('inbox'))
    expect(err).toContain(why)
    expect(readFileSync(file('inbox'), 'utf8')).toBe(before)
  })

  test('that is gone is made anew, with a newer card', async () => {
    const card = await cardOf('--name', 'Alice', ...TWO)
    rmSync(file('inbox'))
    const { out, err } = await me()
    expect(err).toContain('made a new inbox key')
    const newer = await parseCard(out.trim())
    expect(existsSync(file('inbox'))).toBe(true)
    expect(newer.time).toBeGreaterThan(card.time)
    expect(fingerprintOf(newer.inbox!)).not.toBe(fingerprintOf(card.inbox!))
  })
})
