/** `asfaleia profile`: a profile carried to another device, and files that must not become one. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeFiles, encodeFiles, PROFILE_TYPE } from '../../../src/profile/files.ts'
import { sealByPassphrase } from '../../../src/client/format/passphrase.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'

const root = mkdtempSync(join(tmpdir(), 'asfaleia-profile-'))
const file = join(root, 'alice.profile')
const passphrase = join(root, 'passphrase')
const as = (who: string, ...argv: string[]): Promise<Outcome> =>
  asfaleia(argv, { env: { ASFALEIA_HOME: join(root, who), ASFALEIA_PASSPHRASE_FILE: passphrase } })
const begin = async (who: string): Promise<string> => (await as(who, 'me', '--name', who, '--relay', 'localhost')).out.trim()

let exported: Outcome | undefined

/** Reads all files below a folder but those in `state`. */
function contentOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => !name.startsWith('state'))
  return Object.fromEntries(
    names.filter((name) => statSync(join(folder, name)).isFile()).map((name) => [name, readFileSync(join(folder, name), 'latin1')]),
  )
}

beforeAll(async () => {
  writeFileSync(passphrase, 'six random words are long enough\n')
  await begin('alice')
  await as('alice', 'contact', 'add', await begin('bob'))
  await as('alice', 'contact', 'mute', 'bob')
  mkdirSync(join(root, 'alice/state'), { recursive: true })
  writeFileSync(join(root, 'alice/state/seen'), 'only here')
  exported = await as('alice', 'profile', 'export', file)
}, 60_000)
afterAll(() => rmSync(root, { recursive: true }))

describe('an exported profile', () => {
  test('is one file for its user only, in which nothing can be read', () => {
    expect(exported).toEqual({ code: 0, out: `wrote ${file}\n`, err: 'asfaleia: the outbox and the history stay on this device\n' })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'latin1')).toMatch(/^[\w-]+(?:\.[\w-]+){4}\n$/)
  })

  test('becomes the same profile on another device, without the state', async () => {
    const imported = await as('phone', 'profile', 'import', file)
    expect(imported).toMatchObject({ code: 0, out: `made the profile alice in ${join(root, 'phone')}\n` })
    expect(imported.err).toContain('shares your mailbox')
    expect(contentOf(join(root, 'phone'))).toEqual(contentOf(join(root, 'alice')))
    expect(existsSync(join(root, 'phone/state/seen'))).toBe(false)
    expect(statSync(join(root, 'phone/key')).mode & 0o777).toBe(0o600)
    expect(await as('phone', 'me')).toMatchObject({ code: 0, out: (await as('alice', 'me')).out })
    expect((await as('phone', 'contact', 'list')).out).toContain('muted')
  })

  test('does not replace a file', async () => {
    const before = readFileSync(file, 'latin1')
    expect(await as('alice', 'profile', 'export', file)).toMatchObject({ code: 1 })
    expect(readFileSync(file, 'latin1')).toBe(before)
  })

  test("does not replace another person's profile", async () => {
    const before = contentOf(join(root, 'bob'))
    const refused = await as('bob', 'profile', 'import', file)
    expect(refused).toMatchObject({ code: 1, out: '' })
    expect(refused.err).toContain('there is a profile already in')
    expect(contentOf(join(root, 'bob'))).toEqual(before)
  })

  test.each<[string, (text: string) => string, RegExp]>([
    [
      'a flipped byte',
      (text) => text.replace(/\.([\w-])([\w-]+)\n$/, (_, one: string, rest: string) => `.${one === 'A' ? 'B' : 'A'}${rest}\n`),
      /damaged/,
    ],
    ['a cut end', (text) => text.slice(0, -40), /damaged|missing/],
    ['half of it', (text) => text.slice(0, text.length / 2), /missing|damaged/],
    ['nothing', () => '', /missing/],
    ['a card in its place', () => 'asfaleia:card/2:name=Bob', /missing/],
  ])('is refused with %s, and nothing is written', async (name, change, why) => {
    const other = join(root, 'other.profile')
    writeFileSync(other, change(readFileSync(file, 'latin1')))
    const refused = await as('tablet', 'profile', 'import', other)
    expect(refused).toMatchObject({ code: 1, out: '' })
    expect(refused.err).toMatch(why)
    expect([name, existsSync(join(root, 'tablet'))]).toEqual([name, false])
  })

  test('is refused with another passphrase', async () => {
    const wrong = join(root, 'wrong')
    writeFileSync(wrong, 'six other words\n')
    const env = { ASFALEIA_HOME: join(root, 'tablet'), ASFALEIA_PASSPHRASE_FILE: wrong }
    const refused = await asfaleia(['profile', 'import', file], { env })
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('the passphrase is wrong') as string })
    expect(existsSync(join(root, 'tablet'))).toBe(false)
  })

  test.each([
    ['a path out of the folder', { profile: '', '../x': '' }],
    ['an absolute path', { profile: '', '/tmp/x': '' }],
    ['a path in `state`', { profile: '', 'state/seen': '' }],
    ['a hidden file', { profile: '', '.ssh': '' }],
    ['a folder two deep', { profile: '', 'a/b/c': '' }],
    ['a path that is a file and a folder', { profile: '', a: '', 'a/b': '' }],
    ['no profile', { key: '' }],
    ['bytes that are not base64', { profile: 'x' }],
    ['a number for a file', { profile: 1 }],
  ])('is refused with %s, though the passphrase is right', async (_, files) => {
    const bytes = Buffer.from(JSON.stringify({ files }))
    expect(decodeFiles(bytes)).toBeUndefined()
    const other = join(root, 'hostile.profile')
    writeFileSync(other, await sealByPassphrase(bytes, 'six random words are long enough', PROFILE_TYPE))
    expect(await as('tablet', 'profile', 'import', other)).toMatchObject({ code: 1, err: expect.stringContaining('no profile') as string })
    expect(existsSync(join(root, 'tablet'))).toBe(false)
  })

  test('has files of any bytes', () => {
    const files = new Map([
      ['profile', Uint8Array.of()],
      ['contacts/Zoë K.', Uint8Array.of(0, 255, 10)],
    ])
    expect([...decodeFiles(encodeFiles(files))!].map(([path, bytes]) => [path, [...bytes]])).toEqual(
      [...files].map(([path, bytes]) => [path, [...bytes]]),
    )
  })
})

test('without a profile there is nothing to export', async () => {
  const refused = await as('nobody', 'profile', 'export', join(root, 'x.profile'))
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('there is no profile yet') as string })
})
