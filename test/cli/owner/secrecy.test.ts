/** The inbox and the stores that the owner of a profile gives to its messenger. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { openSecrecy } from '../../../src/cli/owner/secrecy.ts'
import { openProfile, type Profile } from '../../../src/cli/profile/profile.ts'
import { parseCard } from '../../../src/client/format/card.ts'
import { encodeText, fingerprintOf } from '../../../src/client/format/field.ts'
import { EMPTY } from '../../../src/client/ring/state.ts'
import { asfaleia } from '../../support/command.ts'
import { run } from '../../support/process.ts'
import { createTestIo } from '../../support/terminal.ts'

const SOURCES = join(import.meta.dirname, '../../../src')
const TWO = ['--relay', 'localhost:4000', '--relay', 'localhost:4001'] as const

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asf-secrecy-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const file = (name: string): string => join(root, 'alice', name)
const env = (): Record<string, string> => ({ ASFALEIA_HOME: join(root, 'alice') })
const begin = (...argv: readonly string[]) => asfaleia(['me', '--name', 'Alice', ...TWO, ...argv], { env: env() })
const open = (key?: string): Promise<Profile> => openProfile(createTestIo(env()), key === undefined ? {} : { key })
const secrecyOf = (profile: Profile) => openSecrecy(profile, () => profile.stored)
const readCard = () => parseCard(readFileSync(file('card'), 'utf8'))
function makeKeyFile(): string {
  const path = join(root, 'other')
  writeFileSync(path, generatePrivateKey('').file, { mode: 0o600 })
  return path
}
/** Turns the profile into one of an earlier version: without an inbox, and with a card without one. */
async function makeOlder(): Promise<void> {
  await begin('--public', 'yes', '--member', 'localhost:4000', '--member', 'localhost:4001')
  rmSync(file('inbox'))
  writeFileSync(file('profile'), readFileSync(file('profile'), 'utf8').replaceAll(/^(?:public|member): .*\n/gm, ''))
}

test('has the inbox of the card, the settings, and stores in the folder of the state', async () => {
  await begin('--member', 'localhost:4001')
  const secrecy = await secrecyOf(await open())
  expect(secrecy).toMatchObject({ isPublic: false, members: ['localhost:4001'] })
  expect(fingerprintOf(secrecy!.inbox.key)).toBe(fingerprintOf((await readCard()).inbox!))
  await secrecy!.secrets.save(encodeText('secret'))
  await secrecy!.rings.save(fingerprintOf(secrecy!.inbox.key), EMPTY)
  expect(existsSync(file('state/secrets.age'))).toBe(true)
  expect(await secrecy!.rings.load(fingerprintOf(secrecy!.inbox.key))).toEqual(EMPTY)
})

test('is for the key of the profile alone, by whichever path the command names it', async () => {
  await begin()
  expect(await secrecyOf(await open(makeKeyFile()))).toBeUndefined()
  const copy = join(root, 'copy')
  writeFileSync(copy, readFileSync(file('key')), { mode: 0o600 })
  expect(await secrecyOf(await open(copy))).toBeDefined()
})

test('is not there without a folder for the profile', async () => {
  const profile = await openProfile(createTestIo({}), { key: makeKeyFile() })
  expect(await secrecyOf(profile)).toBeUndefined()
})

test('gives a profile of an earlier version an inbox, and a card that names it', async () => {
  await makeOlder()
  const older = await readCard()
  expect(older.inbox).toBeUndefined()
  const secrecy = await secrecyOf(await open())
  expect(secrecy).toMatchObject({ isPublic: true, members: [] })
  const card = await readCard()
  expect(fingerprintOf(card.inbox!)).toBe(fingerprintOf(secrecy!.inbox.key))
  expect(older.relays).toEqual(['localhost:4000', 'localhost:4001'])
  expect(card.relays).toEqual(['localhost:4000'])
  expect(card.time).toBeGreaterThan(older.time)
})

test('leaves a card of version 1 alone', async () => {
  await begin('--card-version', '1')
  const before = readFileSync(file('card'), 'utf8')
  expect(await secrecyOf(await open())).toMatchObject({ isPublic: true })
  expect(readFileSync(file('card'), 'utf8')).toBe(before)
})

test('names an inbox file that is damaged, and leaves it untouched', async () => {
  await begin()
  writeFileSync(file('inbox'), 'junk')
  await expect(secrecyOf(await open())).rejects.toThrow(file('inbox'))
  expect(readFileSync(file('inbox'), 'utf8')).toBe('junk')
})

test('on a full disk, a public profile works without an inbox; a private one does not show its key instead', async () => {
  const script = `
    import { Readable, Writable } from 'node:stream'
    import { openProfile } from ${JSON.stringify(join(SOURCES, 'cli/profile/profile.ts'))}
    import { openSecrecy } from ${JSON.stringify(join(SOURCES, 'cli/owner/secrecy.ts'))}
    const io = { env: ${JSON.stringify(env())}, signal: new AbortController().signal, stdin: Readable.from([]), stderr: process.stderr }
    const profile = await openProfile(io, {})
    const secrecy = await openSecrecy(profile, () => profile.stored).catch((error) => error.message)
    process.stdout.write(String(secrecy))`
  // A file size limit of zero has the effect of a full disk.
  const full = () => run(['sh', '-c', 'ulimit -f 0; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script])
  await makeOlder()
  expect((await full()).stdout).toBe('undefined')
  await begin('--public', 'no')
  rmSync(file('inbox'))
  expect((await full()).stdout).toBe(`cannot write ${file('inbox')}: the disk is full`)
})
