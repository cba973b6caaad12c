/** The keys and addresses of a contact: accepted, renewed and shown, also while another command has the profile. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runCommand } from '../../../src/cli/command.ts'
import { openRings, protectionOf } from '../../../src/cli/profile/rings.ts'
import { openSecrets } from '../../../src/cli/profile/secrets.ts'
import { parseSeedFile } from '../../../src/auth/seed.ts'
import { parseCard } from '../../../src/client/format/card.ts'
import { fingerprintOf, makeId } from '../../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import type { RingStore } from '../../../src/client/messenger/options.ts'
import { decodeSecrets, type State } from '../../../src/client/messenger/secrets.ts'
import { EMPTY, RING, type Ring } from '../../../src/client/ring/state.ts'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { createTestIo } from '../../support/terminal.ts'

const NOW = Math.floor(Date.now() / 1_000)

let root: string
let relay: TestRelay
const over: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-keys-'))
  relay = await startTestRelay()
  await as('alice', 'me', '--name', 'Alice', '--relay', `localhost:${relay.port}`)
  const { out } = await as('bob', 'me', '--name', 'Bob', '--relay', `localhost:${relay.port}`)
  await as('alice', 'contact', 'add', out.trim())
})
afterEach(async () => {
  for (const each of over.splice(0).toReversed()) await each()
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

const env = (name: string): Record<string, string> => ({ ASFALEIA_HOME: join(root, name) })
const as = (name: string, ...argv: readonly string[]): Promise<Outcome> => asfaleia(argv, { env: env(name) })
const alice = (): Identity => identityOf(parseSeedFile(readFileSync(join(root, 'alice/key'), 'latin1')))
const rings = (): RingStore => openRings(join(root, 'alice/state'), alice())
const bob = async (): Promise<string> => fingerprintOf((await parseCard(readFileSync(join(root, 'bob/card'), 'utf8'))).key)
const readSecrets = async (): Promise<State> => decodeSecrets(await openSecrets(join(root, 'alice/state'), alice()).load())!
const held = (time: number): Ring['held'][number] => ({
  place: { time, id: makeId(), index: 0 },
  recipient: hybridKey(crypto.getRandomValues(new Uint8Array(32))).recipient,
})
const doubt = (): Ring['doubt'] => ({ time: NOW, id: makeId(), keys: [held(NOW).recipient], address: [] })

/** Starts a command that has the profile. */
async function own(): Promise<void> {
  const io = createTestIo(env('alice'))
  const code = runCommand(['get', '--follow'], io)
  over.push(async () => {
    io.interrupt()
    await code
  })
  await as('bob', 'contact', 'add', (await as('alice', 'me')).out.trim())
  await as('bob', 'send', 'alice', 'the owner is there')
  await io.untilOut('the owner is there')
}

test.each(['alone', 'through the owner of the profile'])('accept believes a contact who began anew without a proof, %s', async (how) => {
  await rings().save(await bob(), { ...EMPTY, doubt: doubt()! })
  if (how !== 'alone') await own()
  expect(await as('alice', 'contact', 'accept', 'bob')).toMatchObject({ code: 0, out: 'accepted the new keys of Bob\n' })
  const ring = await rings().load(await bob())
  expect(ring?.doubt).toBeUndefined()
  expect(ring?.held).toHaveLength(1)
  const again = await as('alice', 'contact', 'accept', 'bob')
  expect(again).toMatchObject({ code: 1, out: '' })
  expect(again.err).toContain('there is nothing to accept: no message says without a proof that Bob began anew')
})

test.each(['alone', 'through the owner of the profile'])('renew gives a contact a new address with the next message, %s', async (how) => {
  await as('alice', 'send', 'bob', 'one')
  if (how !== 'alone') await own()
  const present = async (): Promise<State['addresses']> => (await readSecrets()).addresses.filter(({ replaced }) => replaced === undefined)
  const [before] = await present()
  expect(before).toBeDefined()
  expect(await as('alice', 'contact', 'renew', 'bob')).toMatchObject({ code: 0, out: 'your next message brings a new address to Bob\n' })
  expect(await present()).toEqual([])
  await as('alice', 'send', 'bob', 'two')
  const [after] = await present()
  expect(after?.contact).toBe(await bob())
  expect(after?.secret).not.toEqual(before!.secret)
})

test.each(['alone', 'through the owner of the profile'])(
  'remove gives up the addresses of a contact and erases the keys, %s',
  async (how) => {
    await as('alice', 'send', 'bob', 'one')
    if (how !== 'alone') {
      await own()
      // The owner notes in the contact's file that it heard them: after the removal, that could make the file anew.
      await expect.poll(() => readFileSync(join(root, 'alice/contacts/Bob'), 'utf8'), { timeout: 10_000 }).toContain('met: ')
    }
    expect((await readSecrets()).addresses).toHaveLength(1)
    expect(await rings().load(await bob())).toBeDefined()
    expect(await as('alice', 'contact', 'remove', 'bob')).toMatchObject({ code: 0, out: 'removed Bob\n' })
    const { addresses, bundles } = await readSecrets()
    expect(addresses).toEqual([])
    expect(bundles.size).toBe(0)
    expect(await rings().load(await bob())).toBeUndefined()
    expect((await as('alice', 'contact', 'list')).out).toBe('')
  },
)

test('remove keeps the addresses and keys of a member of a group with the user', async () => {
  await as('alice', 'send', 'bob', 'one')
  await as('alice', 'group', 'new', 'Tea', 'bob')
  expect(await as('alice', 'contact', 'remove', 'bob')).toMatchObject({ code: 0, out: 'removed Bob\n' })
  expect((await readSecrets()).addresses).toHaveLength(1)
  expect(await rings().load(await bob())).toBeDefined()
})

test('the state is in the folder that ASFALEIA_CLIENT_STATE names, and losing it is like losing the state', async () => {
  const state = join(root, 'memory/state')
  const elsewhere = (...argv: readonly string[]): Promise<Outcome> =>
    asfaleia(argv, { env: { ...env('alice'), ASFALEIA_CLIENT_STATE: state } })
  rmSync(join(root, 'alice/state'), { recursive: true, force: true })
  expect(await elsewhere('send', 'bob', 'one')).toMatchObject({ code: 0 })
  expect(readdirSync(state).toSorted()).toEqual(expect.arrayContaining(['ring', 'secrets.age']))
  expect(existsSync(join(root, 'alice/state'))).toBe(false)
  await as('bob', 'contact', 'add', (await elsewhere('me')).out.trim())
  expect((await as('bob', 'get')).out).toBe('Alice: one\n')
  await as('bob', 'send', 'alice', 'two')
  expect((await elsewhere('get')).out).toBe('Bob: two\n')
  // Alice uses a key of Bob, so that the next message is a beginning.
  await elsewhere('send', 'bob', 'three')
  expect((await as('bob', 'get')).out).toBe('Alice: three\n')
  chmodSync(state, 0o777)
  expect((await elsewhere('get')).err).toContain(`every user may write to the folder of the state, ${state}`)
  rmSync(state, { recursive: true })
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  await elsewhere('send', 'bob', 'four')
  const { out, err } = await as('bob', 'get')
  expect(out).toBe('Alice: four\n')
  expect(err).toContain('Alice')
})

test('renew says that there is no address if all relays know the SSH key', async () => {
  await as('alice', 'me', '--member', `localhost:${relay.port}`)
  const { code, err } = await as('alice', 'contact', 'renew', 'bob')
  expect(code).toBe(1)
  expect(err).toContain('you have no addresses: your client uses your SSH key at all of your relays')
})

test.each(['alone', 'through the owner of the profile'])(
  'send --to-key encrypts to the SSH key, and says what it means, %s',
  async (how) => {
    if (how !== 'alone') await own()
    const { code, err } = await as('alice', 'send', 'bob', '--to-key', 'to your key')
    expect(code).toBe(0)
    expect(err).toBe('asfaleia: encrypted to the SSH key: a thief of that key who recorded the message can read it\n')
    await as('bob', 'contact', 'add', (await as('alice', 'me')).out.trim())
    const { out } = await as('bob', 'get', '--json')
    expect(JSON.parse(out)).toMatchObject({ text: 'to your key', verdict: 'genuine' })
  },
)

test('show names what protects the next message', async () => {
  const shown = async (): Promise<string | undefined> =>
    /^protection: {2}(\S+)$/m.exec((await as('alice', 'contact', 'show', 'bob')).out)?.[1]
  expect(await shown()).toBe('daily')
  await rings().save(await bob(), { ...EMPTY, held: [held(NOW)] })
  expect(await shown()).toBe('one-time')
  expect(JSON.parse((await as('alice', 'contact', 'show', 'bob', '--json')).out)).toMatchObject({ protection: 'one-time' })
  await rings().save(await bob(), { ...EMPTY, last: held(NOW - RING.usable - 60) })
  expect(await shown()).toBe('daily')
  expect(protectionOf({}, undefined, NOW)).toBe('key')
})
