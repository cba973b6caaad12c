/** Where the socket and the lock of a profile's owner lie. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findPlace } from '../../../src/cli/owner/place.ts'

const KEY = 'SHA256:key'
/** The first 64 bits of the SHA-256 of the fingerprint. */
const NAME = 'owner-59358c9b8f7070ea'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asf-place-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** Makes a folder in which the path of the socket has this many bytes. */
function folderFor(bytes: number): string {
  const folder = join(root, 'x'.repeat(bytes - NAME.length - root.length - 2))
  mkdirSync(folder)
  return folder
}

test('is named by the key alone, so that another version of the program finds it', async () => {
  expect(await findPlace(root, KEY, undefined)).toEqual({ socket: join(root, NAME), lock: join(root, `${NAME}.lock`) })
})

test('is in the folder of the profile if its path has 100 bytes, and in XDG_RUNTIME_DIR if it is longer', async () => {
  const runtime = join(root, 'run')
  mkdirSync(runtime)
  const [fits, long] = [folderFor(100), folderFor(101)]
  expect((await findPlace(fits, KEY, runtime))?.socket).toBe(join(fits, NAME))
  const other = (await findPlace(long, KEY, runtime))!
  expect(other.socket).toMatch(new RegExp(`^${runtime}/asfaleia-[0-9a-f]{16}/${NAME}$`))
  expect(other.lock).toBe(join(long, `${NAME}.lock`))
  expect(statSync(join(other.socket, '..')).mode & 0o777).toBe(0o700)
  // Another profile has another folder there.
  expect((await findPlace(folderFor(102), KEY, runtime))!.socket).not.toBe(other.socket)
  for (const none of [undefined, '']) await expect(findPlace(long, KEY, none)).rejects.toThrow('is too long for a socket')
  const deep = join(root, 'y'.repeat(60))
  mkdirSync(deep)
  await expect(findPlace(long, KEY, deep)).rejects.toThrow('cannot put a socket into XDG_RUNTIME_DIR')
})

test('is in a folder that it closes to other users', async () => {
  chmodSync(root, 0o755)
  await findPlace(root, KEY, undefined)
  expect(statSync(root).mode & 0o777).toBe(0o700)
})

test('is nowhere if the folder is missing, is a file or a link, or belongs to another user', async (context) => {
  const [file, link, theirs] = ['file', 'link', 'theirs'].map((name) => join(root, name)) as [string, string, string]
  writeFileSync(file, '')
  symlinkSync(root, link)
  mkdirSync(theirs)
  for (const path of [join(root, 'missing'), file, link]) expect(await findPlace(path, KEY, undefined)).toBeUndefined()
  context.skip(process.getuid?.() !== 0, 'needs root')
  chownSync(theirs, 65_534, 65_534)
  expect(await findPlace(theirs, KEY, undefined)).toBeUndefined()
})
