/** `asfaleia doctor --profile`: the age of the key for first messages, and what relays learn of the user's key. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { parseSeedFile } from '../../../src/auth/seed.ts'
import { EXIT } from '../../../src/cli/program/exit.ts'
import { openSecrets } from '../../../src/cli/profile/secrets.ts'
import { makeBundle } from '../../../src/client/format/bundle.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { decodeSecrets, encodeSecrets, makeAddress } from '../../../src/client/messenger/secrets.ts'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'

const DAY = 86_400
const now = (): number => Math.floor(Date.now() / 1_000)

let root: string
let relay: TestRelay
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-checkup-'))
  relay = await startTestRelay()
  await as('alice', 'me', '--name', 'Alice', '--relay', address())
})
afterEach(async () => {
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

const address = (): string => `localhost:${relay.port}`
const as = (who: string, ...argv: readonly string[]): Promise<Outcome> => asfaleia(argv, { env: { ASFALEIA_HOME: join(root, who) } })
const doctor = (...more: readonly string[]): Promise<Outcome> => as('alice', 'doctor', '--profile', ...more)
const keyOf = (file: string): Identity => identityOf(parseSeedFile(readFileSync(join(root, 'alice', file), 'latin1')))

async function publish(days: number | undefined): Promise<void> {
  using client = await connectRelay({ relay: relay.address, identity: keyOf('inbox') })
  const facts = { encrypt: hybridKey(randomBytes(32)).recipient, now: now() + (days ?? 0) * DAY }
  await client.publish(days === undefined ? undefined : (await makeBundle(keyOf('inbox'), facts)).text)
}

test('says how old the key for first messages is', async () => {
  const fine = await doctor()
  expect(fine).toMatchObject({ code: 0, err: '' })
  expect(fine.out).toBe(
    `ok       first-messages: ${address()}: your key for first messages was made today\n` +
      'ok       public: your relays do not learn your SSH key; people who have only that key, or a card of version 1, cannot write to you\n',
  )
  await publish(-5)
  expect((await doctor()).out).toMatch(/^ok {7}first-messages: \S+: your key for first messages is 5 days old\n/)
  await publish(7)
  expect((await doctor()).out).toMatch(/^failed   first-messages: .* is dated \d days in the future\n/)
  await publish(-20)
  expect(await doctor()).toMatchObject({
    code: EXIT.failed,
    out: expect.stringContaining('is 20 days old\n         hint: `asfaleia get` leaves a new key there\n') as string,
  })
  await publish(undefined)
  const [none] = (await doctor('--json')).out.split('\n')
  expect(JSON.parse(none!)).toMatchObject({
    check: 'first-messages',
    state: 'failed',
    text: expect.stringContaining('there is no key of yours for first messages') as string,
  })
})

test('says that a relay cannot be reached, and refuses the options of a relay', async () => {
  expect((await doctor('--strict', 'on')).code).toBe(EXIT.usage)
  const at = address()
  await relay.close()
  const { code, out } = await doctor()
  expect(code).toBe(EXIT.failed)
  expect(out).toContain(`failed   first-messages: ${at}: nothing listens at the address of the relay`)
})

test('names the contacts who would lose the user without the mailbox of the SSH key, and then proposes to end it', async () => {
  await as('alice', 'me', '--public', 'yes')
  const bob = await as('bob', 'me', '--name', 'Bob', '--relay', address())
  await as('alice', 'contact', 'add', bob.out.trim())
  const { code, out } = await doctor()
  expect(code).toBe(0)
  expect(out).toContain('note     public: your relays learn your SSH key')
  expect(out).toContain('not every contact has used an address for 14 days: Bob\n')
  expect(out).toContain('hint: `asfaleia me --public no` ends that, but contacts who have only your SSH key')
  const store = openSecrets(join(root, 'alice/state'), keyOf('key'))
  const before = decodeSecrets(await store.load())!
  const [, contact = ''] = /(SHA256:\S+)/.exec((await as('alice', 'contact', 'list')).out)!
  const used = { ...makeAddress(contact, address(), randomBytes(32), now() - 15 * DAY), isKnown: true }
  await store.save(encodeSecrets({ ...before, addresses: [used] }))
  const later = await doctor()
  expect(later.out).toContain('every contact has used an address for 14 days\n         hint: `asfaleia me --public no` ends that\n')
  expect(fingerprintOf(keyOf('key').key)).not.toBe(contact)
})

test('says what a relay that knows its members learns, and that first messages go to the SSH key', async () => {
  await as('alice', 'me', '--member', address())
  const { code, out } = await doctor()
  expect({ code, out }).toMatchObject({
    code: 0,
    out: expect.stringContaining('your card names no inbox, so first messages are encrypted to a key that is never erased\n') as string,
  })
  expect(out).toContain(`note     member: ${address()} learns your SSH key`)
})
