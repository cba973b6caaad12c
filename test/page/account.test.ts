/** The account of the page: the saved file that the command opens, too, and every file that it refuses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { generateSeedKey } from '../../src/auth/seed.ts'
import { makeCard } from '../../src/client/format/card.ts'
import { identityOf } from '../../src/client/format/identity.ts'
import { openByPassphrase, sealByPassphrase } from '../../src/client/format/passphrase.ts'
import { Account } from '../../src/page/account.ts'
import { pageIdentity } from '../../src/page/identity.ts'
import { decodeFiles, encodeFiles, PROFILE_TYPE } from '../../src/profile/files.ts'
import { asfaleia, type Outcome } from '../support/command.ts'

// Each file that is opened or saved takes 600,000 rounds.
vi.setConfig({ testTimeout: 60_000 })

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const PASSPHRASE = 'six random words are long enough'
const root = mkdtempSync(join(tmpdir(), 'asfaleia-account-'))
const as = (who: string, ...argv: string[]): Promise<Outcome> =>
  asfaleia(argv, { env: { ASFALEIA_HOME: join(root, who), ASFALEIA_PASSPHRASE_FILE: join(root, 'passphrase') } })

let bob: Account
let saved: string
beforeAll(async () => {
  writeFileSync(join(root, 'passphrase'), `${PASSPHRASE}\n`)
  bob = await Account.create('Bob', [ONION])
  const alice = await Account.create('Alice', [ONION])
  await alice.add(bob.card)
  await alice.verify((await alice.add(bob.card)).fingerprint)
  saved = await alice.save(PASSPHRASE)
})
afterAll(() => rmSync(root, { recursive: true }))

/** Returns the saved file after a change of its files. */
async function changed(change: (files: Map<string, Uint8Array>) => void): Promise<string> {
  const files = new Map(decodeFiles(await openByPassphrase(saved, PASSPHRASE, PROFILE_TYPE)))
  change(files)
  return sealByPassphrase(encodeFiles(files), PASSPHRASE, PROFILE_TYPE)
}
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const refusal = (text: string, passphrase = PASSPHRASE): Promise<unknown> =>
  Account.open(text, passphrase).then(
    () => 'opened',
    (error: Error) => error.message,
  )

describe('a saved file', () => {
  test('opens again with the same key, card and people', async () => {
    const again = await Account.open(saved, PASSPHRASE)
    expect([again.name, again.relays, again.card.text.length > 0]).toEqual(['Alice', [ONION], true])
    expect(again.people().map(({ name, verified }) => [name, verified !== undefined])).toEqual([['Bob', true]])
  })

  test('becomes a profile of the command line, and back', async () => {
    writeFileSync(join(root, 'alice.profile'), saved)
    expect(await as('alice', 'profile', 'import', join(root, 'alice.profile'))).toMatchObject({ code: 0 })
    expect((await as('alice', 'contact', 'list')).out).toContain('Bob')
    const { link } = (await Account.open(saved, PASSPHRASE)).card
    await as('alice', 'contact', 'rename', 'Bob', 'Robert')
    expect(await as('alice', 'profile', 'export', join(root, 'back.profile'))).toMatchObject({ code: 0 })
    const back = await Account.open(readFileSync(join(root, 'back.profile'), 'latin1'), PASSPHRASE)
    expect([back.card.link, back.people().map(({ name }) => name)]).toEqual([link, ['Robert']])
  })

  test('keeps the files that the page does not know', async () => {
    const other = await Account.open(await changed((files) => files.set('groups/friends', utf8('a group'))), PASSPHRASE)
    const again = decodeFiles(await openByPassphrase(await other.save(PASSPHRASE), PASSPHRASE, PROFILE_TYPE))!
    expect(again.get('groups/friends')).toEqual(utf8('a group'))
  })

  test('is refused with a clear text if anything is wrong', async () => {
    const flipped = `${saved.slice(0, -30)}${saved.at(-30) === 'A' ? 'B' : 'A'}${saved.slice(-29)}`
    const newer = await sealByPassphrase(utf8('{}'), PASSPHRASE, 'asfaleia-profile/2')
    expect(await refusal(saved, 'another passphrase')).toMatch(/the passphrase is wrong/)
    expect(await refusal(flipped)).toMatch(/it is damaged: a byte was changed/)
    expect(await refusal(saved.slice(0, 1_000))).toMatch(/a part of it is missing|damaged/)
    expect(await refusal(newer)).toMatch(/a newer version of asfaleia made it/)
    expect(await refusal('hello')).toMatch(/cannot be opened/)
    expect(await refusal(await changed((files) => files.set('card', utf8(bob.card.text))))).toMatch(/another person’s key/)
    expect(await refusal(await changed((files) => files.delete('key')))).toMatch(/the key of this profile is not in the file/)
    expect(await refusal(await changed((files) => files.set('key', utf8('hello'))))).toMatch(/is damaged/)
    expect(await refusal(await changed((files) => files.set('profile', utf8('name: A\nkey: agent\n'))))).toMatch(/not in the file/)
  })

  test('with a damaged contact opens without it, and keeps its file', async () => {
    const account = await Account.open(await changed((files) => files.set('contacts/Mallory', utf8('key: nonsense\n'))), PASSPHRASE)
    expect([account.people().map(({ name }) => name), account.broken]).toEqual([['Bob'], ['contacts/Mallory']])
    const again = decodeFiles(await openByPassphrase(await account.save(PASSPHRASE), PASSPHRASE, PROFILE_TYPE))!
    expect(again.has('contacts/Mallory')).toBe(true)
  })
})

describe('a new contact', () => {
  const refused = async (work: (account: Account) => Promise<unknown>): Promise<string> => {
    const account = await Account.create('Alice', [ONION])
    return work(account).then(
      () => 'added',
      (error: Error) => error.message,
    )
  }

  test('is refused if it is the user, looks like another one, or reads at localhost', async () => {
    const twin = await Account.create('B0b', [ONION])
    const local = await makeCard(identityOf(generateSeedKey()), { name: 'Eve', relays: ['localhost'], time: 1_764_198_000 })
    expect(await refused((account) => account.add(account.card))).toMatch(/your own/)
    expect(await refused((account) => account.add(local))).toMatch(/localhost/)
    expect(
      await refused(async (account) => {
        await account.add(bob.card)
        await account.add(twin.card, 'Воb')
      }),
    ).toMatch(/looks like it: Bob/)
    expect(await refused((account) => account.add(bob.card, 'you'))).toMatch(/choose another name/)
  })

  test('has its card updated only by a newer one', async () => {
    const account = await Account.create('Alice', [ONION])
    const key = generateSeedKey()
    const [old, newer] = await Promise.all(
      [1_764_198_000, 1_764_198_001].map((time) => makeCard(identityOf(key), { name: 'Carol', relays: [ONION], time })),
    )
    await account.add(newer!)
    await expect(account.add(old!)).rejects.toThrow(/older/)
    expect(account.people()).toHaveLength(1)
  })
})

test('changes of a contact outlive the page: a new name, marks of trust, blocks, a removal', async () => {
  const time = { now: 1_800_000_000 }
  const eve = `SHA256:${'E'.repeat(43)}`
  const account = await Account.create('Alice', [ONION], () => time.now)
  const carol = await Account.create('Carol', [ONION])
  const { fingerprint } = await account.add(bob.card)
  const other = (await account.add(carol.card)).fingerprint
  await account.rename(fingerprint, 'Robert')
  await expect(account.rename(other, 'R0bert')).rejects.toThrow('looks like Robert, another contact of yours')
  await account.verify(fingerprint)
  time.now += 60
  await account.meet(fingerprint)
  time.now += 60
  // Only the first time counts.
  await account.meet(fingerprint)
  account.block(fingerprint, 'Robert\nthe Bold')
  account.block(eve, 'Eve')
  account.block(other, 'Carol')
  account.unblock(other)
  const again = await Account.open(await account.save(PASSPHRASE), PASSPHRASE)
  expect(again.people().map(({ name }) => name)).toEqual(['Carol', 'Robert'])
  expect(again.find(fingerprint)).toMatchObject({ verified: 1_800_000_000, met: 1_800_000_060 })
  expect([fingerprint, eve, other, 'the'].map((each) => again.isBlocked(each))).toEqual([true, true, false, false])
  account.remove(fingerprint)
  account.remove(fingerprint)
  await expect(account.verify(fingerprint)).rejects.toThrow('no contact any more')
  expect((await Account.open(await account.save(PASSPHRASE), PASSPHRASE)).people().map(({ name }) => name)).toEqual(['Carol'])
})

test('WebCrypto signs the same bytes as the key itself', async () => {
  const key = generateSeedKey()
  const message = utf8('hello')
  expect(await (await pageIdentity(key)).sign('test', message)).toEqual(await identityOf(key).sign('test', message))
})
