/** The files of a profile that go to another device. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { collect } from '../../../src/cli/profile/carrier.ts'
import { PROFILE } from '../../../src/profile/files.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-carrier-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function write(path: string, size = 1): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), '')
  truncateSync(join(folder, path), size)
}

test('are those of the folder and of the folders in it, in order, without the state, hidden files and links', async () => {
  for (const path of ['name', 'contacts/bob', 'contacts/.hidden', 'contacts/deep/x', 'state/outbox', '.hidden', '.git/config']) write(path)
  symlinkSync('/etc/passwd', join(folder, 'link'))
  expect([...(await collect(folder)).keys()]).toEqual(['contacts/bob', 'name'])
})

test('may have the largest size of a file, and no byte more', async () => {
  write('file', PROFILE.fileBytes)
  expect((await collect(folder)).get('file')).toHaveLength(PROFILE.fileBytes)
  write('file', PROFILE.fileBytes + 1)
  await expect(collect(folder)).rejects.toThrow('file: the profile is too large to export')
})

test('may have the largest size of a profile, and no byte more', async () => {
  const count = PROFILE.bytes / PROFILE.fileBytes
  for (let n = 0; n < count; n++) write(`contacts/${n}`, PROFILE.fileBytes)
  expect((await collect(folder)).size).toBe(count)
  write('name')
  await expect(collect(folder)).rejects.toThrow('name: the profile is too large to export')
})

test('cannot be read from a folder that does not exist', async () => {
  await expect(collect(join(folder, 'none'))).rejects.toThrow('cannot read')
})
