/** The contact book as files: what it writes and refuses, and that a broken disk loses nothing. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { generatePrivateKey, parsePrivateKey } from '../../../src/auth/private-key.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { formatFingerprint } from '../../../src/auth/ssh-key.ts'
import { Book } from '../../../src/cli/profile/book.ts'
import { refuseName } from '../../../src/wording/name.ts'
import { type Card, makeCard } from '../../../src/client/format/card.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { run } from '../../support/process.ts'

const NOW = 1_790_000_000
const makeIdentity = (): Identity => identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('test').file)))
const bob = makeIdentity()
const eve = makeIdentity()
const cardOf = (identity: Identity, name: string, time = NOW, relays: readonly string[] = ['localhost']): Promise<Card> =>
  makeCard(identity, { name, relays, time })

let home: string
let folder: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'asfaleia-book-'))
  folder = join(home, 'contacts')
})
afterEach(() => {
  rmSync(home, { recursive: true })
})
const open = (): Promise<Book> => Book.open(folder, true, () => NOW)
const read = (name: string): string => readFileSync(join(folder, name), 'utf8')

describe('a contact', () => {
  test('is stored as the signed card plus one line, readable only for the user', async () => {
    const card = await cardOf(bob, 'Bob')
    expect(await (await open()).add({ card })).toMatchObject({
      kind: 'added',
      contact: { name: 'Bob', relays: ['localhost'], receipts: true },
    })
    expect(read('Bob')).toBe(`${card.text}added: 2026-09-21T14:13:20Z\n`)
    expect(statSync(join(folder, 'Bob')).mode & 0o777).toBe(0o600)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(readdirSync(folder)).toEqual(['Bob'])
    const again = await open()
    expect(again.get('bob')).toMatchObject({ name: 'Bob', added: NOW })
    expect(again.find(formatFingerprint(bob.key.fingerprint))?.name).toBe('Bob')
    expect(await again.add({ card })).toMatchObject({ kind: 'unchanged' })
  })

  test('names no local relay unless the user receives on this machine, so that a foreign card cannot make the user dial it', async () => {
    const onion = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
    const card = await cardOf(bob, 'Bob', NOW, [onion, 'localhost:22'])
    const away = (): Promise<Book> => Book.open(folder, false, () => NOW)
    await expect((await away()).add({ card })).rejects.toThrow('names localhost')
    expect(existsSync(join(folder, 'Bob'))).toBe(false)
    expect((await away()).contactOf(card)).toMatchObject({ relays: [onion] })
    // Add a contact while the user receives here, then a newer card.
    await (await open()).add({ card })
    expect((await open()).find(formatFingerprint(bob.key.fingerprint))?.relays).toEqual([onion, 'localhost:22'])
    const book = await away()
    expect(book.find(formatFingerprint(bob.key.fingerprint))?.relays).toEqual([onion])
    await expect(book.add({ card: await cardOf(bob, 'Bob', NOW + 1, ['localhost:23']) })).rejects.toThrow('names localhost')
    // Relays that the user gave by hand are allowed.
    await book.add({ key: eve.key, relays: ['localhost:4000', '127.0.0.1:1'] }, 'Eve')
    expect((await away()).get('Eve')?.relays).toEqual(['localhost:4000', '127.0.0.1:1'])
  })

  test('may be a bare key with relays given by hand, and get its card later', async () => {
    const book = await open()
    await book.add({ key: bob.key, relays: ['LOCALHOST:3308', 'unix:/run/Relay'] }, 'Bob')
    expect(read('Bob')).toMatch(/^key: ssh-ed25519 \S+\nrelay: localhost\nrelay: unix:\/run\/Relay\nadded: .*\n$/)
    const card = await cardOf(bob, 'Robert')
    expect(await book.add({ card })).toMatchObject({
      kind: 'changed',
      contact: { name: 'Bob', relays: ['localhost'] },
      changes: [
        { what: 'name', before: 'Bob', after: 'Robert' },
        { what: 'relays', before: 'localhost, unix:/run/Relay', after: 'localhost' },
      ],
    })
    expect(read('Bob')).toBe(`${card.text}added: 2026-09-21T14:13:20Z\n`)
  })

  test('keeps both of two changes at the same time', async () => {
    const book = await open()
    await book.add({ card: await cardOf(bob, 'Bob') })
    const { key: inbox } = identityOf(generateSeedKey())
    const card = await makeCard(bob, { name: 'Bob', relays: ['localhost'], time: NOW + 1, inbox })
    const known = book.need('Bob')
    await Promise.all([book.meet(known), book.takeInbox(known, card), book.verify(known)])
    expect(book.need('Bob')).toMatchObject({ met: NOW, verified: NOW, inbox: { blob: inbox.blob } })
    expect(read('Bob')).toContain(card.text)
  })

  test('that is removed meanwhile does not come back by its card', async () => {
    const book = await open()
    await book.add({ card: await cardOf(bob, 'Bob') })
    const card = await makeCard(bob, { name: 'Bob', relays: ['localhost'], time: NOW + 1, inbox: generateSeedKey().public })
    const known = book.need('Bob')
    rmSync(join(folder, 'Bob'))
    await book.takeInbox(known, card)
    expect(existsSync(join(folder, 'Bob'))).toBe(false)
  })

  test("keeps the user's own lines in its file: comments, unknown fields, CR LF or not", async () => {
    const book = await open()
    const card = await cardOf(bob, 'Bob')
    await book.add({ card })
    const notes = '# met in Vienna\nphone: none\nreceipts: no\n'
    writeFileSync(join(folder, 'Bob'), `${card.text}${notes}`.replaceAll('\n', '\r\n'))
    await book.refresh()
    expect(book.problems).toEqual([])
    const newer = await cardOf(bob, 'Bob', NOW + 60, ['localhost:4000'])
    expect(await book.add({ card: newer })).toMatchObject({
      kind: 'changed',
      changes: [{ what: 'relays', before: 'localhost', after: 'localhost:4000' }],
    })
    expect(read('Bob')).toBe(`${newer.text}${notes}`)
    expect((await book.verify(book.need('Bob'))).verified).toBe(NOW)
    expect(read('Bob')).toBe(`${newer.text}${notes}verified: 2026-09-21T14:13:20Z\n`)
    const renamed = await book.rename(book.need('bob'), 'bob the second')
    expect(renamed).toMatchObject({ name: 'bob the second', verified: NOW, receipts: false })
    expect(readdirSync(folder)).toEqual(['bob the second'])
    expect((await book.rename(renamed, 'Bob The Second')).name).toBe('Bob The Second')
    await book.remove(book.need('Bob The Second'))
    expect(readdirSync(folder)).toEqual([])
  })
})

describe('the contact book refuses', () => {
  test('another key for a known name', async () => {
    const book = await open()
    await book.add({ card: await cardOf(bob, 'Bob') })
    const before = read('Bob')
    for (const name of ['Bob', 'bob', 'BOB']) {
      const error = await book.add({ card: await cardOf(eve, name, NOW + 60) }).catch((each: unknown) => each as Error & { hint: string })
      expect(error).toMatchObject({
        message: expect.stringContaining(formatFingerprint(eve.key.fingerprint)) as string,
        hint: expect.stringContaining('remove') as string,
      })
      await expect(book.add({ key: eve.key, relays: ['localhost'] }, name)).rejects.toThrow(formatFingerprint(bob.key.fingerprint))
    }
    expect(read('Bob')).toBe(before)
    expect(await book.add({ card: await cardOf(eve, 'Bob') }, 'Eve')).toMatchObject({ kind: 'added', contact: { name: 'Eve' } })
    await expect(book.rename(book.need('Eve'), 'bob')).rejects.toThrow('already a contact "Bob"')
  })

  test('an older card', async () => {
    const book = await open()
    await book.add({ card: await cardOf(bob, 'Bob', NOW) })
    const before = read('Bob')
    await expect(book.add({ card: await cardOf(bob, 'Bob', NOW - 1, ['localhost:1']) })).rejects.toThrow('older')
    expect(read('Bob')).toBe(before)
  })

  test('relays for a contact with a card, and a second name for one key', async () => {
    const book = await open()
    await book.add({ card: await cardOf(bob, 'Bob') })
    expect(await book.add({ key: bob.key, relays: ['localhost:1'] })).toMatchObject({
      kind: 'unchanged',
      contact: { relays: ['localhost'] },
    })
    await expect(book.add({ card: await cardOf(bob, 'Bob', NOW + 1) }, 'Robert')).rejects.toThrow('key of your contact "Bob"')
  })
})

test.each([
  '',
  '.',
  '..',
  '.hidden',
  '-rf',
  'a/b',
  '../up',
  ' a',
  'a ',
  'a\nb',
  'a\u{202e}b',
  'a\u{200b}',
  'a~',
  'x'.repeat(65),
  '\u{1f642}'.repeat(60),
])('%j is refused as the name of a contact', async (name) => {
  expect(refuseName(name)).toBeDefined()
  await expect((await open()).add({ key: bob.key, relays: ['localhost'] }, name)).rejects.toThrow(/name/)
})

describe('a broken contact file or folder is reported, and nothing is lost, if it is', () => {
  test.each<[string, (path: string, text: string) => void, RegExp]>([
    ['half-written', (path, text) => writeFileSync(path, text.slice(0, 300)), /the end of the card is missing/],
    ['changed', (path, text) => writeFileSync(path, text.replace('localhost', 'localhost:1')), /the signature does not match/],
    ['empty', (path) => writeFileSync(path, ''), /must hold a card, or exactly one `key` line/],
    ['not text', (path) => writeFileSync(path, Buffer.of(0xff, 0xfe)), /not UTF-8 text/],
    ['too large', (path) => writeFileSync(path, 'x'.repeat(70_000)), /larger than 65536 bytes/],
    ['a folder', (path) => mkdirSync(path), /it is a folder/],
    ['two keys', (path) => writeFileSync(path, 'key: a\nkey: b\n'), /must hold a card, or exactly one `key` line/],
    ['a malformed key', (path) => writeFileSync(path, 'key: ssh-ed25519 AAAA\n'), /malformed/],
    [
      'an invalid relay',
      (path) => writeFileSync(path, `key: ${'ssh-ed25519 '}${Buffer.from(bob.key.blob).toString('base64')}\nrelay: a b\n`),
      /address/,
    ],
    ['an invalid time', (path, text) => writeFileSync(path, `${text}added: yesterday\n`), /`added` must be one time/],
    ['a link to itself', (path) => symlinkSync(path, path), /symbolic link/],
  ])('%s', async (_name, damage, problem) => {
    const { text } = await cardOf(bob, 'Bob')
    const book = await open()
    await book.add({ card: await cardOf(eve, 'Eve') })
    const path = join(folder, 'Bob')
    damage(path, text)
    const before = readAny(path)
    await book.refresh()
    expect(book.list().map(({ name }) => name)).toEqual(['Eve'])
    expect(book.problems).toEqual([
      { name: 'Bob', error: expect.objectContaining({ message: expect.stringMatching(problem) as string }) as unknown },
    ])
    expect(book.problems[0]!.error.message).toContain(path)
    expect(() => book.need('bob')).toThrow(problem)
    // Not even a valid card may replace it.
    await expect(book.add({ card: await cardOf(bob, 'Bob', NOW + 9) })).rejects.toThrow(/already/)
    expect(readAny(path)).toEqual(before)
    expect(readdirSync(folder)).toEqual(['Bob', 'Eve'])
  })

  test('a symbolic link, which is read but not written through', async () => {
    const card = await cardOf(bob, 'Bob')
    mkdirSync(folder)
    writeFileSync(join(home, 'elsewhere'), card.text)
    symlinkSync(join(home, 'elsewhere'), join(folder, 'Bob'))
    const book = await open()
    await expect(book.verify(book.need('Bob'))).rejects.toThrow('symbolic link')
    expect(readFileSync(join(home, 'elsewhere'), 'utf8')).toBe(card.text)
  })

  test('a file in place of the folder', async () => {
    writeFileSync(folder, 'mine')
    await expect(open()).rejects.toThrow(/cannot read the folder .*contacts/)
    expect(readFileSync(folder, 'utf8')).toBe('mine')
  })

  test('on a full disk, where the old file stays whole', async () => {
    const book = await open()
    const card = await cardOf(bob, 'Bob')
    await book.add({ card })
    const before = read('Bob')
    // A file size limit of zero has the effect of a full disk in this process.
    const script = `
      import { Book } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cli/profile/book.ts'))}
      const book = await Book.open(${JSON.stringify(folder)}, true)
      process.stdout.write('read ')
      await book.verify(book.need('Bob')).catch((error) => process.stdout.write(error.message))`
    const { stdout } = await run(['sh', '-c', 'ulimit -f 0; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script])
    expect(stdout).toBe(`read cannot write ${join(folder, 'Bob')}: the disk is full`)
    expect(read('Bob')).toBe(before)
    expect(readdirSync(folder)).toEqual(['Bob'])
  })

  test('a folder without write permission', async () => {
    const book = await open()
    await book.add({ card: await cardOf(bob, 'Bob') })
    const before = read('Bob')
    chmodSync(home, 0o755)
    chmodSync(folder, 0o555)
    chmodSync(join(folder, 'Bob'), 0o644)
    const script = `
      import { Book } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cli/profile/book.ts'))}
      const book = await Book.open(${JSON.stringify(folder)}, true)
      for (const work of [() => book.verify(book.need('Bob')), () => book.remove(book.need('Bob')), () => book.rename(book.need('Bob'), 'Rob')]) {
        await work().catch((error) => process.stdout.write(error.message.replace(/^.*: /, '') + ';'))
      }`
    const program = [process.execPath, '--input-type=module', '-e', script]
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    const { stdout } = await run([...(process.getuid?.() === 0 ? asNobody : []), ...program])
    expect(stdout).toBe('permission denied;permission denied;permission denied;')
    chmodSync(folder, 0o755)
    expect(read('Bob')).toBe(before)
  })
})

function readAny(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? ''
  }
}
