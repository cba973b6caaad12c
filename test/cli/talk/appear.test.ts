/** The bundle of the inbox: which commands publish it, so that people who get the card can write. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { EXIT } from '../../../src/cli/program/exit.ts'
import { generateSeedKey, parseSeedFile } from '../../../src/auth/seed.ts'
import { parseBundle } from '../../../src/client/format/bundle.ts'
import { makeCard } from '../../../src/client/format/card.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { run } from '../../support/process.ts'

let root: string
let relay: TestRelay
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-publishing-'))
  relay = await startTestRelay()
})
afterEach(async () => {
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

const home = (): string => join(root, 'alice')
const address = (): string => `localhost:${relay.port}`
const as = (...argv: readonly string[]): Promise<Outcome> => asfaleia(argv, { env: { ASFALEIA_HOME: home() } })
const begin = (): Promise<Outcome> => as('me', '--name', 'Alice', '--relay', address())
const inbox = (): Identity => identityOf(parseSeedFile(readFileSync(join(home(), 'inbox'), 'latin1')))
const WARNING = 'asfaleia: warning: your relay was not reached: '

/** Returns what a stranger finds at the relay. */
async function fetchBundle(): Promise<Uint8Array | undefined> {
  using client = await connectRelay({ relay: relay.address, identity: identityOf(generateSeedKey()) })
  return await client.fetch(fingerprintOf(inbox().key))
}

test('me publishes it when it makes the card, and shows the card later without the relay', async () => {
  expect((await begin()).code).toBe(0)
  const bundle = await fetchBundle()
  expect(await parseBundle(inbox().key, bundle!)).toMatchObject({ encrypt: expect.stringMatching(/^age1pq1/) as string })
  await relay.close()
  expect(await as('me')).toMatchObject({ code: 0, err: '' })
})

test('me prints the card and warns if no relay answers', async () => {
  const at = address()
  await relay.close()
  const { code, out, err } = await as('me', '--name', 'Alice', '--relay', at)
  expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/^asfaleia:card\/2:name=Alice,.*\n$/) as string })
  expect(err).toContain(WARNING)
})

test('contact add publishes it again if the relay lost it', async () => {
  await begin()
  {
    using client = await connectRelay({ relay: relay.address, identity: inbox() })
    await client.publish(undefined)
  }
  expect(await fetchBundle()).toBeUndefined()
  const { link } = await makeCard(identityOf(generateSeedKey()), { name: 'Bob', relays: ['localhost'], time: 1_795_000_000 })
  expect((await as('contact', 'add', link)).err).not.toContain('warning')
  expect(await fetchBundle()).toBeDefined()
})

test('contact add does not wait for messages that no command takes', async () => {
  await begin()
  await asfaleia(['me', '--name', 'Bob', '--relay', address()], { env: { ASFALEIA_HOME: join(root, 'bob') } })
  const link = (await as('me')).out.trim()
  for (let n = 0; n < 3; n++) await asfaleia(['send', link, `hi ${n}`], { env: { ASFALEIA_HOME: join(root, 'bob') } })
  const bobs = await asfaleia(['me'], { env: { ASFALEIA_HOME: join(root, 'bob') } })
  const { err } = await as('contact', 'add', bobs.out.trim())
  expect(err).not.toContain('warning')
  expect((await as('get')).out).toBe('Bob: hi 0\nBob: hi 1\nBob: hi 2\n')
})

test('contact add asks for no passphrase', async (ctx) => {
  const path = join(root, 'mine')
  const passphrase = join(root, 'passphrase')
  writeFileSync(passphrase, 'secret\n')
  writeFileSync(path, generatePrivateKey('').file, { mode: 0o600 })
  const { code } = await run(['ssh-keygen', '-q', '-p', '-N', 'secret', '-P', '', '-f', path])
  ctx.skip(code !== 0, 'needs ssh-keygen')
  const env = { ASFALEIA_HOME: home(), ASFALEIA_PASSPHRASE_FILE: passphrase }
  const made = await asfaleia(['me', '--name', 'Alice', '--relay', address(), '--key', path], { env })
  expect(made).toMatchObject({ code: 0 })
  // The command had the key already.
  expect(await fetchBundle()).toBeDefined()
  const { link } = await makeCard(identityOf(generateSeedKey()), { name: 'Bob', relays: ['localhost'], time: 1_795_000_000 })
  expect(await as('contact', 'add', link)).toMatchObject({
    code: 0,
    err: expect.stringContaining(`${WARNING}your key needs a passphrase`) as string,
  })
})

test('me, get and send name the command that shows the SSH key to a relay that admits only some keys', async () => {
  const closed = await startTestRelay({ admit: [{ fingerprint: generateSeedKey().public.fingerprint }] })
  try {
    const name = `localhost:${closed.port}`
    const hint = `asfaleia: hint: if it admits only keys that it knows, run \`asfaleia me --member ${name}\`: your client then shows your SSH key to this relay`
    const made = await as('me', '--name', 'Alice', '--relay', name)
    expect(made.code).toBe(0)
    expect(made.err).toContain(`${WARNING}the relay does not admit that key\n${hint}`)
    const refused = await as('get')
    expect(refused.code).toBe(EXIT.refused)
    expect(refused.err).toContain(hint)
    const { link } = await makeCard(identityOf(generateSeedKey()), { name: 'Bob', relays: [name], time: 1_795_000_000 })
    const sent = await as('send', link, 'hello')
    expect(sent.code).toBe(EXIT.refused)
    expect(sent.err).toContain(hint)
    await as('me', '--relay', name, '--relay', address())
    const { code, err } = await as('get')
    expect(code).toBe(0)
    expect(err).toContain(`asfaleia: ${name}: the relay does not admit that key\n${hint}`)
  } finally {
    await closed.close()
  }
})
