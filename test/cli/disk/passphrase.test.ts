/** A passphrase typed at a terminal that the test plays. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { askPassphrase, newPassphrase } from '../../../src/cli/disk/passphrase.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

class FakeTerminal extends PassThrough {
  isRaw = false

  setRawMode(raw: boolean): void {
    // As Node's: a destroyed stream leaves the terminal as it is.
    if (!this.destroyed) this.isRaw = raw
  }
}

const played = vi.hoisted(() => ({ tty: '', terminals: [] as unknown[], isThere: true }))
vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>()
  const openSync: typeof fs.openSync = (path, ...more) => {
    if (path === '/dev/tty' && !played.isThere) throw Object.assign(new Error('no terminal'), { code: 'ENXIO' })
    return real.openSync(path === '/dev/tty' ? played.tty : path, ...more)
  }
  return { ...real, openSync }
})
vi.mock('node:tty', () => ({
  ReadStream: function () {
    return played.terminals.shift()
  },
}))

let folder: string
let io: TestIo
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asf-passphrase-'))
  played.tty = join(folder, 'tty')
  writeFileSync(played.tty, '')
  played.isThere = true
  io = createTestIo()
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Makes the terminals of the next questions, one each. */
function prepare(count = 1): FakeTerminal[] {
  const terminals = Array.from({ length: count }, () => new FakeTerminal())
  played.terminals = [...terminals]
  return terminals
}

describe('a passphrase', () => {
  test.each([
    ['up to the end of the line', ['pass', 'word\rmore'], 'password'],
    ['without erased characters', ['pasx\u{7f}sy\bw', 'ord\n'], 'password'],
    ['without an erased line', ['wrong\u{15}password\n'], 'password'],
    ['with tabs and letters of all scripts, but without control characters', ['\u{1b}p\tä日\u{0}\u{9b}s\n'], 'p\tä日s'],
    ['of the greatest length', [`${'x'.repeat(1_024)}\n`], 'x'.repeat(1_024)],
  ])('is taken %s, unseen', async (_how, typed, expected) => {
    const [terminal] = prepare()
    const asked = askPassphrase('passphrase\u{1b} of key', io)
    expect(terminal!.isRaw).toBe(true)
    for (const each of typed) terminal!.write(each)
    expect(await asked).toBe(expected)
    expect(readFileSync(played.tty, 'utf8')).toMatch(/^passphrase\S* of key: \n$/)
    expect(io.out() + io.err()).toBe('')
  })

  test.each([
    ['Ctrl-C', (terminal: FakeTerminal) => terminal.write('pass\u{3}'), 'no passphrase entered'],
    ['Ctrl-D', (terminal: FakeTerminal) => terminal.write('pass\u{4}'), 'no passphrase entered'],
    ['the end of the terminal', (terminal: FakeTerminal) => terminal.end('pass'), 'no passphrase entered'],
    ['a signal', () => io.interrupt(), 'interrupted'],
    ['too many characters', (terminal: FakeTerminal) => terminal.write('x'.repeat(1_025)), 'a passphrase has at most 1024 characters'],
  ])('is refused after %s', async (_what, act, message) => {
    const [terminal] = prepare()
    const asked = askPassphrase('passphrase', io)
    act(terminal!)
    await expect(asked).rejects.toThrow(message)
    expect(terminal!.destroyed).toBe(true)
  })

  test.each([
    ['a passphrase', 'password\n'],
    ['Ctrl-C', '\u{3}'],
  ])('leaves a terminal with echo and lines after %s', async (_what, typed) => {
    const [terminal] = prepare()
    terminal!.write(typed)
    await askPassphrase('passphrase', io).catch(() => {})
    expect(terminal).toMatchObject({ isRaw: false, destroyed: true })
  })

  test('needs a terminal, and a command that may ask', async () => {
    played.isThere = false
    await expect(askPassphrase('passphrase', io)).rejects.toThrow('there is no terminal to ask for it')
    await expect(askPassphrase('passphrase', { signal: io.signal, asks: false })).rejects.toThrow('your key needs a passphrase')
  })
})

describe('a new passphrase', () => {
  const ask = async (...typed: readonly string[]): Promise<string> => {
    for (const [at, terminal] of prepare(typed.length).entries()) terminal.write(`${typed[at]}\n`)
    return newPassphrase('new passphrase', 'take a longer one', io)
  }

  test('is typed twice', async () => {
    expect(await ask('one', 'one')).toBe('one')
    await expect(ask('one', 'other')).rejects.toThrow('the two passphrases differ')
    await expect(ask('')).rejects.toMatchObject({ message: 'the passphrase is empty', hint: 'take a longer one' })
  })
})
