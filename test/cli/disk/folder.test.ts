/** A folder of small files: which files count, how one is found, and how a damaged one is reported. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Folder, type Named, warnOf } from '../../../src/cli/disk/folder.ts'
import { CliError } from '../../../src/cli/program/error.ts'
import type { Parts } from '../../../src/profile/entry.ts'
import { createTestIo } from '../../support/terminal.ts'

interface Note extends Named {
  readonly text: string
}

/** A folder of notes with a line `text: …` each. */
class Notes extends Folder<Note> {
  constructor(path: string) {
    super(path, { noun: 'note', hint: 'write one', mostBytes: 64 })
  }

  protected override async parse(named: Named, { fields }: Parts): Promise<Note> {
    const [text] = fields.all('text')
    if (text === undefined) throw new CliError(`${named.path}: a \`text\` line is missing`)
    if (text === 'defect') throw new TypeError('a defect')
    return { ...named, text }
  }

  put(name: string, text: string, replace = false): Promise<Note> {
    return this.write(name, `text: ${text}\n`, { replace })
  }

  /** Changes the folder as `work` does. */
  edit(name: string, work: () => Promise<void>): Promise<void> {
    return this.change(this.pathOf(name), work)
  }
}

let root: string
let path: string
let notes: Notes
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-folder-'))
  path = join(root, 'notes')
  notes = new Notes(path)
})
afterEach(() => {
  rmSync(root, { recursive: true })
})

const names = (): string[] => notes.list().map(({ name }) => name)

describe('the list', () => {
  test('is empty without the folder, which reading does not make', async () => {
    await notes.refresh()
    expect([names(), notes.problems]).toEqual([[], []])
    expect(existsSync(path)).toBe(false)
  })

  test('is in the order of the letters of any case', async () => {
    for (const name of ['b', 'C', 'a', 'Ä']) await notes.put(name, name)
    expect(names()).toEqual(['a', 'b', 'C', 'Ä'])
  })

  test('leaves out hidden files, copies of editors, and links to nothing', async () => {
    mkdirSync(path)
    for (const name of ['.hidden', 'a~', '#a#', '.new-0123456789abcdef']) writeFileSync(join(path, name), 'text: x\n')
    symlinkSync('nothing', join(path, 'link'))
    for (const name of ['#a', 'a#', '~a', 'a.b']) writeFileSync(join(path, name), 'text: x\n')
    await notes.refresh()
    expect(names()).toEqual(['#a', 'a#', 'a.b', '~a'])
    expect(notes.problems).toEqual([])
  })

  test('has no file that is too large by a byte, and the one that fits', async () => {
    mkdirSync(path)
    writeFileSync(join(path, 'fits'), `text: ${'x'.repeat(57)}\n`)
    writeFileSync(join(path, 'large'), `text: ${'x'.repeat(58)}\n`)
    await notes.refresh()
    expect(names()).toEqual(['fits'])
    expect(notes.problems.map(({ name, error }) => [name, error.message])).toEqual([
      ['large', `cannot read ${join(path, 'large')}: it is larger than 64 bytes`],
    ])
  })

  test('hides no defect of this program behind a damaged file', async () => {
    mkdirSync(path)
    writeFileSync(join(path, 'a'), 'text: defect\n')
    await expect(notes.refresh()).rejects.toThrow(TypeError)
  })
})

test('a name that differs in case finds a thing, unless another one has exactly that name', async () => {
  await notes.put('bob', 'small')
  expect(notes.get('BOB')?.text).toBe('small')
  await notes.put('BOB', 'large')
  expect([notes.get('bob')?.text, notes.get('BOB')?.text]).toEqual(['small', 'large'])
  expect(notes.get('rob')).toBeUndefined()
})

test('an unknown name is refused with names that are like it, and a damaged thing with its problem', async () => {
  await notes.put('bob', 'x')
  expect(() => notes.need('bop')).toThrow(
    expect.objectContaining({ message: 'no note matches "bop"; did you mean "bob"?', hint: 'write one' }) as Error,
  )
  expect(() => notes.need('zoe')).toThrow(expect.objectContaining({ message: 'no note matches "zoe"' }) as Error)
  writeFileSync(join(path, 'Eve'), '\n')
  await notes.refresh()
  expect(() => notes.need('eve')).toThrow('a `text` line is missing')
})

describe('a change', () => {
  test('makes the folder for a new thing, both for the user alone', async () => {
    expect(await notes.put('a', 'x')).toEqual({ name: 'a', path: join(path, 'a'), text: 'x' })
    expect([path, join(path, 'a')].map((each) => statSync(each).mode & 0o777)).toEqual([0o700, 0o600])
  })

  test('replaces a thing only if it may, and brings no removed folder back', async () => {
    await notes.put('a', 'x')
    await expect(notes.put('a', 'y')).rejects.toThrow('it already exists')
    expect(readFileSync(join(path, 'a'), 'utf8')).toBe('text: x\n')
    expect((await notes.put('a', 'y', true)).text).toBe('y')
    rmSync(path, { recursive: true })
    await expect(notes.put('a', 'z', true)).rejects.toThrow('no such file or folder')
    expect(existsSync(path)).toBe(false)
  })

  test('that the system refuses is reported, and the list stays', async () => {
    const note = await notes.put('a', 'x')
    rmSync(join(path, 'a'))
    mkdirSync(join(path, 'a'))
    await expect(notes.remove(note)).rejects.toMatchObject({
      message: `cannot change ${note.path}: the system refused (ERR_FS_EISDIR)`,
      hint: 'nothing was changed',
    })
    expect(names()).toEqual(['a'])
    const refused = Object.assign(new Error(), { code: 'EROFS' })
    const edited = notes.edit('a', () => Promise.reject(refused))
    await expect(edited).rejects.toThrow(`cannot change ${note.path}: the disk is read-only`)
  })

  test('removes a thing from the disk and from the list', async () => {
    await notes.remove(await notes.put('a', 'x'))
    expect([names(), readdirSync(path)]).toEqual([[], []])
  })
})

test('a warning names each damaged file on a line, and passes no control character on', async () => {
  mkdirSync(path)
  for (const name of ['a\u{1b}[2J', 'b\nc']) writeFileSync(join(path, name), '')
  await notes.refresh()
  const io = createTestIo()
  warnOf(notes, io)
  expect(io.err()).toBe(
    ['a\\u{1b}[2J', 'b\\nc'].map((name) => `asfaleia: warning: ${join(path, name)}: a \`text\` line is missing\n`).join(''),
  )
})
