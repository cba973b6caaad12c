/** Folders that can and cannot be made, and the owners of files. */
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { give, makeFolder, ownerOf } from '../../../src/cli/disk/file.ts'
import { run } from '../../support/process.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-file-'))
})
afterEach(() => {
  rmSync(root, { recursive: true })
})

test('a folder is made with its parents, closed to others, and may exist', async () => {
  const path = join(root, 'a/b/c')
  for (const _ of [1, 2]) await makeFolder(path)
  for (const each of ['a', 'a/b', 'a/b/c']) expect(statSync(join(root, each)).mode & 0o777).toBe(0o700)
  symlinkSync('a', join(root, 'link'))
  await makeFolder(join(root, 'link'))
  await makeFolder(join(root, 'link/d'))
  expect(existsSync(join(root, 'a/d'))).toBe(true)
})

test('only root reads the owner of a path, and without one a file keeps its owner', async () => {
  const path = join(root, 'given')
  writeFileSync(path, '')
  const { uid, gid } = statSync(path)
  expect(await ownerOf(path)).toEqual(process.getuid?.() === 0 ? { uid, gid } : undefined)
  await give(path, undefined)
  expect(statSync(path)).toMatchObject({ uid, gid })
})

test('the error names the reason', async () => {
  writeFileSync(join(root, 'file'), '')
  symlinkSync('nowhere', join(root, 'link'))
  const refusal = (path: string): Promise<string> =>
    makeFolder(path).then(
      () => '',
      (error: Error) => error.message,
    )
  expect(await refusal(join(root, 'file'))).toMatch(/cannot create the folder \S+file: a file of that name exists$/)
  expect(await refusal(join(root, 'link'))).toMatch(/a file of that name exists$/)
  expect(await refusal(join(root, 'file/a/b'))).toMatch(/\/file is a file$/)
})

// With the option `recursive` of mkdir, Node tries for ever.
test.skipIf(process.platform !== 'linux')('a file system that makes no folders is named', { timeout: 60_000 }, async () => {
  const script = `
    import { give, makeFolder, ownerOf } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cli/disk/file.ts'))}
    await makeFolder('/proc/x/y/z').catch((error) => process.stdout.write(error.message))`
  const { stdout } = await run(['timeout', '-s', 'KILL', '20', process.execPath, '--input-type=module', '-e', script])
  expect(stdout).toBe('cannot create the folder /proc/x: its file system makes no folders')
})
