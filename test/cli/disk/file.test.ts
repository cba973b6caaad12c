/** Files and folders that can and cannot be made, read and replaced, and their modes and owners. state.test.ts has full disks. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  give,
  makeFolder,
  ownerOf,
  readText,
  resolvePath,
  rewrite,
  UnwritableError,
  writeNew,
  writeNewFolder,
  writeWhole,
} from '../../../src/cli/disk/file.ts'
import { run, start } from '../../support/process.ts'

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

/** The permissions of a path. */
const modeOf = (path: string): string => (lstatSync(path).mode & 0o777).toString(8)

test('a path is one at home only after `~/`, and begins in the given folder if it is relative', () => {
  expect(resolvePath('~/a')).toBe(join(homedir(), 'a'))
  expect(['~', '~a/b', 'a/~/b', './~/a'].map((path) => resolvePath(path, '/x'))).toEqual(['/x/~', '/x/~a/b', '/x/a/~/b', '/x/~/a'])
  expect([resolvePath('a/../b', '/x'), resolvePath('/a', '/x'), resolvePath('a')]).toEqual(['/x/b', '/a', join(process.cwd(), 'a')])
})

describe('a new file', () => {
  test('has its content and its mode', async () => {
    await writeNew(join(root, 'a'), 'text', 0o640)
    await writeNew(join(root, 'b'), Buffer.of(0xff), 0o600)
    expect([readFileSync(join(root, 'a'), 'utf8'), ...readFileSync(join(root, 'b'))]).toEqual(['text', 0xff])
    expect([modeOf(join(root, 'a')), modeOf(join(root, 'b'))]).toEqual(['640', '600'])
  })

  test('is not made over another one, nor through a link, nor in a missing folder', async () => {
    writeFileSync(join(root, 'there'), 'mine')
    symlinkSync('nothing', join(root, 'link'))
    for (const name of ['there', 'link']) {
      await expect(writeNew(join(root, name), 'x', 0o600)).rejects.toThrow(`cannot write ${join(root, name)}: it already exists`)
    }
    await expect(writeNew(join(root, 'no/x'), 'x', 0o600)).rejects.toMatchObject({
      message: `cannot write ${join(root, 'no/x')}: there is no folder ${join(root, 'no')}`,
      hint: 'make the folder first, or name another file',
    })
    await expect(writeNew(join(root, 'there/x'), 'x', 0o600)).rejects.toThrow('part of the path is a file')
    expect(readFileSync(join(root, 'there'), 'utf8')).toBe('mine')
    expect(readdirSync(root).toSorted()).toEqual(['link', 'there'])
  })
})

describe('a text', () => {
  test('is read with its byte order mark, and is undefined if there is no file', async () => {
    writeFileSync(join(root, 'a'), '\u{feff}caf\u{e9}')
    expect(await readText(join(root, 'a'), 8)).toBe('\u{feff}caf\u{e9}')
    expect(await readText(join(root, 'none'), 8)).toBeUndefined()
    writeFileSync(join(root, 'empty'), '')
    expect(await readText(join(root, 'empty'), 0)).toBe('')
  })

  test('that is none, or no file, is refused with the next step', async () => {
    writeFileSync(join(root, 'latin'), Buffer.from('caf\u{e9}', 'latin1'))
    const hint = 'nothing was changed; repair or remove it, and try again'
    await expect(readText(join(root, 'latin'), 8)).rejects.toMatchObject({
      message: `cannot read ${join(root, 'latin')}: it is not UTF-8 text`,
      hint,
    })
    await expect(readText(root, 8)).rejects.toMatchObject({ message: `cannot read ${root}: it is a folder`, hint })
    await expect(readText(join(root, 'latin/x'), 8)).rejects.toThrow('part of the path is a file')
  })
})

test.skipIf(process.platform !== 'linux')('a file of the kernel, which has no size, is read to its end', async () => {
  for (const length of [1, 4_095, 4_096, 4_097, 8_193, 8_194, 8_195, 40_000]) {
    const child = start(['sh', '-c', 'echo ready; read _', 'x'.repeat(length)], { open: true })
    await child.until(/ready/)
    const path = `/proc/${child.pid}/cmdline`
    const whole = readFileSync(path, 'utf8')
    expect(whole.length).toBeGreaterThan(length)
    expect(await readText(path, 65_536)).toBe(whole)
    expect(await readText(path, whole.length)).toBe(whole)
    await expect(readText(path, whole.length - 1)).rejects.toThrow(`it is larger than ${whole.length - 1} bytes`)
    await child.end('SIGKILL')
  }
})

describe('a file that is written whole', () => {
  test('is for the user alone, also if the one before was not', async () => {
    const path = join(root, 'a')
    await writeWhole(path, 'one', { replace: false })
    expect(modeOf(path)).toBe('600')
    chmodSync(path, 0o666)
    await writeWhole(path, 'two', { replace: true })
    expect([readFileSync(path, 'utf8'), modeOf(path), ...readdirSync(root)]).toEqual(['two', '600', 'a'])
  })

  test.each<[string, string, (path: string) => void]>([
    ['a link to a file', 'it is a symbolic link', (path) => symlinkSync('other', path)],
    ['a link to nothing', 'it is a symbolic link', (path) => symlinkSync('nothing', path)],
    ['a folder', 'it is a folder', (path) => mkdirSync(path)],
    ['a pipe', 'it is not a regular file', (path) => execFileSync('mkfifo', [path])],
  ])('does not replace %s', async (_what, why, make) => {
    writeFileSync(join(root, 'other'), 'other')
    const path = join(root, 'a')
    make(path)
    const { ino, mode } = lstatSync(path)
    await expect(writeWhole(path, 'x', { replace: true })).rejects.toMatchObject({
      message: `cannot write ${path}: ${why}`,
      hint: 'nothing was changed',
    })
    await expect(writeWhole(path, 'x', { replace: false })).rejects.toThrow(`cannot write ${path}: it already exists`)
    expect(lstatSync(path)).toMatchObject({ ino, mode })
    expect(readdirSync(root).toSorted()).toEqual(['a', 'other'])
    expect(readFileSync(join(root, 'other'), 'utf8')).toBe('other')
  })
})

describe('a file that is rewritten', () => {
  test('keeps its mode, its owner, and the link to it', async () => {
    const file = join(root, 'file')
    writeFileSync(file, 'one')
    chmodSync(file, 0o664)
    const owner = process.getuid?.() === 0 ? 65_534 : statSync(file).uid
    if (owner === 65_534) chownSync(file, owner, owner)
    symlinkSync('file', join(root, 'link'))
    await rewrite(join(root, 'link'), Buffer.from('two'))
    expect([readFileSync(file, 'utf8'), modeOf(file), statSync(file).uid]).toEqual(['two', '664', owner])
    expect(lstatSync(join(root, 'link')).isSymbolicLink()).toBe(true)
    expect(readdirSync(root).toSorted()).toEqual(['file', 'link'])
  })

  test.each([
    ['the group', 0, 65_534],
    ['the user', 65_534, 0],
  ])('keeps %s if only that is another one', async (_who, uid, gid) => {
    const file = join(root, 'file')
    writeFileSync(file, 'one')
    if (process.getuid?.() === 0) chownSync(file, uid, gid)
    const before = statSync(file)
    await rewrite(file, Buffer.from('two'))
    expect(statSync(file)).toMatchObject({ uid: before.uid, gid: before.gid })
  })

  test('must be there, and leaves nothing beside it if it is no file', async () => {
    await expect(rewrite(join(root, 'none'), Buffer.of())).rejects.toMatchObject({
      message: `cannot write ${join(root, 'none')}: no such file or folder`,
      hint: 'nothing was changed; run this as the owner of the file',
    })
    mkdirSync(join(root, 'folder'))
    await expect(rewrite(join(root, 'folder'), Buffer.of())).rejects.toThrow('it is a folder')
    expect(readdirSync(root)).toEqual(['folder'])
  })
})

describe('a new folder with files', () => {
  const FILES = new Map([
    ['a', Buffer.from('one')],
    ['in/b', Buffer.from('two')],
  ])

  test('is for its owner alone, and so are its files', async () => {
    const path = join(root, 'new')
    mkdirSync(path)
    await writeNewFolder(path, FILES)
    expect([readFileSync(join(path, 'a'), 'utf8'), readFileSync(join(path, 'in/b'), 'utf8')]).toEqual(['one', 'two'])
    expect(['', 'in', 'a', 'in/b'].map((name) => modeOf(join(path, name)))).toEqual(['700', '700', '600', '600'])
    expect(readdirSync(root)).toEqual(['new'])
  })

  test('belongs to the owner of the folder around it', async (context) => {
    context.skip(process.getuid?.() !== 0, 'needs root')
    chownSync(root, 65_534, 65_533)
    await writeNewFolder(join(root, 'new'), FILES)
    for (const name of ['', 'in', 'a', 'in/b']) expect(statSync(join(root, 'new', name))).toMatchObject({ uid: 65_534, gid: 65_533 })
  })

  test('is made in a folder that exists, and leaves nothing behind if it cannot be', async () => {
    writeFileSync(join(root, 'file'), '')
    mkdirSync(join(root, 'full'))
    writeFileSync(join(root, 'full/x'), '')
    const refusals: readonly (readonly [string, string])[] = [
      ['file', 'it already exists'],
      ['full', 'it already exists'],
      ['none/new', `there is no folder ${join(root, 'none')}`],
      ['file/new', 'part of the path is a file'],
    ]
    for (const [name, why] of refusals) {
      const path = join(root, name)
      await expect(writeNewFolder(path, FILES)).rejects.toThrow(`cannot write ${path}: ${why}`)
    }
    expect([...readdirSync(root), ...readdirSync(join(root, 'full'))]).toEqual(['file', 'full', 'x'])
  })
})

test('an error says whether the disk takes no more', async () => {
  const full = await run([
    'sh',
    '-c',
    'ulimit -f 0; exec "$@"',
    'sh',
    process.execPath,
    '--input-type=module',
    '-e',
    `import { UnwritableError, writeNew, writeNewFolder, writeWhole } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cli/disk/file.ts'))}
    const files = new Map([['a', Buffer.from('x')]])
    for (const write of [(path) => writeNew(path, 'x', 0o600), (path) => writeWhole(path, 'x', { replace: true }), (path) => writeNewFolder(path, files)]) {
      await write(${JSON.stringify(join(root, 'x'))}).catch((error) =>
        process.stdout.write(\`\${error instanceof UnwritableError} \${error.message} | \${error.hint}\\n\`))
    }`,
  ])
  const message = `true cannot write ${join(root, 'x')}: the disk is full`
  expect(full.stdout).toBe(`${message} | make room on the disk\n${message} | nothing was changed\n${message} | make room on the disk\n`)
  expect(readdirSync(root)).toEqual([])
  await expect(writeNew(join(root, 'no/x'), '', 0o600)).rejects.not.toBeInstanceOf(UnwritableError)
})
