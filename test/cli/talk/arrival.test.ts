/** Files from a hostile sender: each goes into the folder under its own name, and nothing stays open. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parsePublicKey } from '../../../src/auth/ssh-key.ts'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { Arrivals } from '../../../src/cli/talk/arrival.ts'
import { makeId } from '../../../src/client/format/field.ts'
import { FILE, FileReceiving } from '../../../src/client/delivery/file.ts'
import { type FilePart, PART_BYTES } from '../../../src/client/format/content.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import { IncomingFiles } from '../../../src/client/messenger/incoming-files.ts'
import type { FileOffer } from '../../../src/client/messenger/transfers.ts'

let root: string
let folder: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-arrival-'))
  folder = join(root, 'files')
})
afterEach(() => {
  rmSync(root, { recursive: true })
})

const from: Contact = { name: 'Mallory', key: parsePublicKey(generatePrivateKey('mallory').public), relays: ['localhost'] }
const bytes = Buffer.alloc(PART_BYTES + 5, 'x')
const part = (
  offer: FileOffer,
  number: number,
  content: Uint8Array = bytes.subarray((number - 1) * PART_BYTES, number * PART_BYTES),
): FilePart => ({ type: 'file', ...offer, part: number, bytes: content })
const offerOf = (name: string, whole: Uint8Array = bytes): FileOffer => ({
  from,
  name,
  file: makeId(),
  total: whole.length,
  hash: createHash('sha256').update(whole).digest('hex'),
})
/** Returns the paths of this process's open files in the folder. */
const openFiles = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(folder) ? [target] : []
    } catch {
      return []
    }
  })

test('the same bytes under two names make two files, and neither is written after its check', async () => {
  const placed: string[] = []
  const arrivals = new Arrivals(folder, undefined, (_offer, path) => placed.push(path))
  const [one, other] = [offerOf('one'), offerOf('other')]
  const [first, second] = await Promise.all(
    [one, other].map(async (offer) => new FileReceiving(offer, (await arrivals.open(offer)) as never)),
  )
  await first!.take(part(one, 1))
  await first!.take(part(one, 2))
  expect(placed).toEqual([join(folder, 'one')])
  await second!.take(part(other, 1, Buffer.alloc(PART_BYTES, 'evil')))
  expect(readFileSync(join(folder, 'one'))).toEqual(bytes)
  expect(await second!.take(part(other, 2))).toMatchObject({ state: 'damaged', answer: 'refused' })
  expect(readdirSync(folder)).toEqual(['one'])
})

test('a sender who offers file after file gets only a few open at once', async () => {
  const arrivals = new Arrivals(folder, undefined, () => {})
  const quiet = { now: () => 0, random: () => 0, post: () => makeId(), withdraw: () => {}, emit: () => {}, schedule: () => {} }
  const files = new IncomingFiles(quiet, arrivals)
  for (let n = 0; n < 50; n++) await files.onPart(from, part(offerOf(`file ${n}`, Buffer.alloc(40_000, n)), 0, new Uint8Array(0)))
  await expect.poll(() => openFiles().length).toBe(FILE.contact)
  files.close()
  await expect.poll(openFiles).toEqual([])
})

test('only a limited number of unfinished files is kept, and those of other transfers can resume', async () => {
  const arrivals = new Arrivals(folder, undefined, () => {})
  const whole = Buffer.alloc(PART_BYTES * 2, 'z')
  const [mine, open] = [offerOf('mine', whole), offerOf('open', whole)]
  const begin = async (offer: FileOffer): Promise<FileReceiving> => new FileReceiving(offer, (await arrivals.open(offer)) as never)
  const first = await begin(open)
  for (let n = 0; n < 70; n++) {
    if (n === 60)
      await begin(mine).then(async (receiving) =>
        receiving.take(part(mine, 1, whole.subarray(0, PART_BYTES))).then(() => receiving.close()),
      )
    await (await begin(offerOf(`file ${n}`, Buffer.alloc(40_000, n)))).close()
    expect(readdirSync(folder).filter((name) => name.endsWith('.have')).length).toBeLessThanOrEqual(64)
  }
  expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toHaveLength(64)
  expect(readdirSync(folder).filter((name) => name.endsWith('.have'))).toHaveLength(64)
  // A file that is open must not be removed.
  await first.take(part(open, 1, whole.subarray(0, PART_BYTES)))
  expect(await first.take(part(open, 2, whole.subarray(PART_BYTES)))).toMatchObject({ state: 'done' })
  expect(await (await begin(mine)).take(part(mine, 2, whole.subarray(PART_BYTES)))).toMatchObject({ state: 'done' })
})

test('a transfer that resumes makes no other one go, however many there are', async () => {
  const arrivals = new Arrivals(folder, undefined, () => {})
  const offers = Array.from({ length: 64 }, (_, n) => offerOf(`file ${n}`, Buffer.alloc(40_000, n)))
  for (const offer of offers) await new FileReceiving(offer, (await arrivals.open(offer)) as never).close()
  const before = readdirSync(folder).toSorted()
  await new FileReceiving(offers[63]!, (await arrivals.open(offers[63]!)) as never).close()
  expect(readdirSync(folder).toSorted()).toEqual(before)
})

test.each(['../escaped', 'a/b', '.', '..', '', 'nul\0'])('a file of the name %j is refused, and nothing is written', async (name) => {
  const arrivals = new Arrivals(folder, undefined, () => {})
  expect(await arrivals.open(offerOf(name))).toBeUndefined()
  expect(readdirSync(root)).toEqual([])
})

test.each([
  ['n', 246, 244],
  // Two bytes each.
  ['ä', 123, 122],
])('a taken name of the maximum length gets a number within the limit: %s', async (letter, length, left) => {
  const placed: string[] = []
  const arrivals = new Arrivals(folder, undefined, (_offer, path) => placed.push(path))
  const name = `${letter.repeat(length)}.tar.gz`
  for (const fill of ['a', 'b']) {
    const offer = offerOf(name, Buffer.alloc(5, fill))
    const receiving = new FileReceiving(offer, (await arrivals.open(offer)) as never)
    expect(await receiving.take(part(offer, 1, Buffer.alloc(5, fill)))).toMatchObject({ state: 'done' })
  }
  expect(placed).toEqual([join(folder, name), join(folder, `${letter.repeat(left)} (2).tar.gz`)])
})

test('a record with a half-written last line is repaired, and the transfer resumes', async () => {
  const arrivals = new Arrivals(folder, undefined, () => {})
  const whole = Buffer.alloc(PART_BYTES * 12, 'y')
  const offer = offerOf('x', whole)
  const open = async (): Promise<FileReceiving> => new FileReceiving(offer, (await arrivals.open(offer)) as never)
  const take = (receiving: FileReceiving, number: number): ReturnType<FileReceiving['take']> =>
    receiving.take(part(offer, number, whole.subarray((number - 1) * PART_BYTES, number * PART_BYTES)))
  const before = await open()
  await take(before, 3)
  await before.close()
  const record = join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.have'))!,
  )
  // Leave half a line, as a full disk does.
  writeFileSync(record, `${readFileSync(record, 'utf8')}1`)
  const again = await open()
  await take(again, 2)
  await again.close()
  const last = await open()
  expect(await last.take(part(offer, 0, new Uint8Array(0)))).toMatchObject({ answer: [[2, 3]] })
  await last.close()
})

describe('in a folder that others may write to', () => {
  const whole = Buffer.alloc(PART_BYTES * 2, 'w')
  const offer = offerOf('x', whole)
  const placed: string[] = []
  const open = async (): Promise<FileReceiving> =>
    new FileReceiving(offer, (await new Arrivals(folder, undefined, (_offer, path) => placed.push(path)).open(offer)) as never)
  const take = (receiving: FileReceiving, number: number): ReturnType<FileReceiving['take']> =>
    receiving.take(part(offer, number, number === 0 ? new Uint8Array(0) : whole.subarray((number - 1) * PART_BYTES, number * PART_BYTES)))
  const pathOf = (ending: string): string =>
    join(
      folder,
      readdirSync(folder).find((name) => name.endsWith(ending))!,
    )
  beforeEach(() => {
    placed.length = 0
  })

  /** Receives the first part, then stops. */
  async function begin(): Promise<void> {
    const receiving = await open()
    await take(receiving, 1)
    await receiving.close()
  }

  test.each<[what: string, disturb: (path: string) => void]>([
    ['has another mode', (path) => chmodSync(path, 0o666)],
    ['has a second name', (path) => linkSync(path, join(root, 'second'))],
    [
      'is a symbolic link',
      (path) => {
        rmSync(path)
        writeFileSync(join(root, 'target'), 'mine', { mode: 0o600 })
        symlinkSync(join(root, 'target'), path)
      },
    ],
    [
      'is a pipe',
      (path) => {
        rmSync(path)
        execFileSync('mkfifo', ['-m', '600', path])
      },
    ],
    ...(process.getuid?.() === 0
      ? ([['is owned by another user', (path) => chownSync(path, 65_534, 65_534)]] as [string, (path: string) => void][])
      : []),
  ])('a transfer begins anew if its unfinished file %s', async (_what, disturb) => {
    for (const ending of ['.part', '.have']) {
      await begin()
      disturb(pathOf(ending))
      const again = await open()
      expect(await take(again, 0)).toMatchObject({ answer: [] })
      await take(again, 1)
      expect(await take(again, 2)).toMatchObject({ state: 'done' })
      const path = placed.at(-1)!
      expect(readFileSync(path)).toEqual(whole)
      expect(lstatSync(path)).toMatchObject({ uid: process.getuid!(), nlink: 1, mode: 0o100600 })
      for (const each of ['target', 'second']) rmSync(join(root, each), { force: true })
    }
    expect(readdirSync(folder).toSorted()).toEqual(['x', 'x (2)'])
  })

  test.each<[what: string, swap: (path: string) => void]>([
    ['a symbolic link', (path) => symlinkSync(join(root, 'theirs'), path)],
    ['another file', (path) => writeFileSync(path, Buffer.alloc(whole.length, 'e'))],
    ['a link to another file', (path) => linkSync(join(root, 'theirs'), path)],
  ])('%s in the place of the checked bytes does not get the name of the file', async (_what, swap) => {
    writeFileSync(join(root, 'theirs'), Buffer.alloc(whole.length, 'e'))
    const receiving = await open()
    await take(receiving, 1)
    const path = pathOf('.part')
    rmSync(path)
    swap(path)
    await expect(take(receiving, 2)).rejects.toThrow('another user or program changes unfinished files')
    expect(placed).toEqual([])
    expect(readdirSync(folder)).not.toContain('x')
    expect(readFileSync(join(root, 'theirs'))).toEqual(Buffer.alloc(whole.length, 'e'))
    // The next try begins anew.
    const again = await open()
    expect(await take(again, 0)).toMatchObject({ answer: [] })
    for (const number of [1, 2]) await take(again, number)
    expect(placed).toEqual([join(folder, 'x')])
    expect(readFileSync(join(folder, 'x'))).toEqual(whole)
  })

  test('a link in the place of the list of parts is not written to', async () => {
    writeFileSync(join(root, 'theirs'), 'mine\n', { mode: 0o600 })
    const receiving = await open()
    const path = pathOf('.have')
    rmSync(path)
    symlinkSync(join(root, 'theirs'), path)
    await expect(take(receiving, 1)).rejects.toThrow('another user or program changes unfinished files')
    expect(readFileSync(join(root, 'theirs'), 'utf8')).toBe('mine\n')
  })
})
