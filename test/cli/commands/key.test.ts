import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { needs } from '../../auth/openssh.ts'
import { asfaleia, createKeyFolder } from '../../support/command.ts'
import { missing } from '../../support/programs.ts'

const folder = createKeyFolder()
afterAll(() => folder.remove())
const at = (name: string): string => join(folder.path, name)
const MAIN = join(import.meta.dirname, '../../../src/cli/main.ts')

describe('key --out', () => {
  test('makes a private key for the user only, with the public key beside it', async () => {
    const { code, out, err } = await asfaleia(['key', '--out', at('new')])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^ssh-ed25519 [A-Za-z0-9+/=]{68}\nSHA256:[A-Za-z0-9+/]{43}\n$/)
    expect(statSync(at('new')).mode & 0o777).toBe(0o600)
    expect(statSync(at('new.pub')).mode & 0o777).toBe(0o644)
    expect(readFileSync(at('new.pub'), 'utf8')).toBe(`${out.split('\n')[0]} asfaleia\n`)
    for (const file of [at('new'), at('new.pub')]) expect(await asfaleia(['key', file])).toEqual({ code: 0, out, err: '' })
  })

  test('makes a key that ssh-keygen reads', async (context) => {
    const why = missing('ssh-keygen')
    if (why !== undefined) return context.skip(why)
    const { out } = await asfaleia(['key', '--out', at('interop'), '--json'])
    const shown = JSON.parse(out) as Record<string, string>
    expect(shown['file']).toBe(at('interop'))
    const fromPrivate = execFileSync('ssh-keygen', ['-y', '-f', at('interop')], { encoding: 'utf8' })
    expect(fromPrivate.split(' ').slice(0, 2).join(' ').trim()).toBe(shown['public'])
    expect(execFileSync('ssh-keygen', ['-lf', at('interop.pub')], { encoding: 'utf8' })).toContain(shown['fingerprint'])
  })

  test.each(['', '.pub'])('never overwrites FILE%s', async (suffix) => {
    const file = at(`there${suffix === '' ? '-a' : '-b'}`)
    writeFileSync(`${file}${suffix}`, 'precious')
    const { code, out, err } = await asfaleia(['key', '--out', file])
    expect(code).toBe(1)
    expect(out).toBe('')
    expect(err).toBe(`asfaleia: error: cannot write ${file}${suffix}: it already exists\n`)
    expect(readFileSync(`${file}${suffix}`, 'utf8')).toBe('precious')
    // It must leave no half of a pair either.
    expect([existsSync(file), existsSync(`${file}.pub`)]).toEqual([suffix === '', suffix === '.pub'])
  })

  test('does not follow a dangling link', async () => {
    symlinkSync(at('nowhere'), at('link'))
    expect(await asfaleia(['key', '--out', at('link')])).toMatchObject({ code: 1 })
    expect(existsSync(at('nowhere'))).toBe(false)
  })

  test('reports a missing folder', async () => {
    const { code, err } = await asfaleia(['key', '--out', at('no/such')])
    expect(code).toBe(1)
    expect(err).toContain('there is no folder')
  })
})

describe('key FILE', () => {
  test.each([0o640, 0o604, 0o620, 0o666])('refuses a file of mode %o, as ssh does', async (mode) => {
    const { file } = folder.make(`open${mode}`)
    chmodSync(file, mode)
    expect(await asfaleia(['key', file])).toEqual({
      code: 1,
      out: '',
      err: `asfaleia: error: other users may read the private key ${file}, of mode 0${mode.toString(8)}\nasfaleia: hint: keep them out, as ssh requires: chmod 600 ${file}; if they may have read the key, make another one\n`,
    })
  })

  test('leaves the protection of another user’s file to its owner, as ssh does', async (ctx) => {
    ctx.skip(process.getuid?.() !== 0, 'needs root')
    const { file } = folder.make('theirs')
    chmodSync(file, 0o644)
    chownSync(file, 65_534, 65_534)
    expect(await asfaleia(['key', file])).toMatchObject({ code: 0, err: '' })
  })

  test.each([
    ['a missing file', at('none'), 'no such file or folder\nasfaleia: hint: check the path'],
    ['a folder', folder.path, 'it is not a regular file'],
    ['a device', '/dev/zero', 'it is not a regular file'],
  ])('refuses %s', async (_name, file, why) => {
    expect(await asfaleia(['key', file])).toEqual({ code: 1, out: '', err: `asfaleia: error: cannot read the key file ${file}: ${why}\n` })
  })

  test.each([
    ['an empty file', ''],
    ['a text that is not a key', 'hello\n'],
    ['a weak key', 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAwEAAQ==\n'],
    ['a truncated private key', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n'],
    ['a file over the size limit', 'x'.repeat(70_000)],
  ])('refuses %s in one line', async (_name, text) => {
    writeFileSync(at('bad'), text, { mode: 0o600 })
    const { code, out, err } = await asfaleia(['key', at('bad')])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(/^asfaleia: error: [^\n]+\n(asfaleia: hint: [^\n]+\n)?$/)
  })

  test('takes the bytes of a passphrase file as they are, as ssh-keygen does', async (context) => {
    const why = missing('ssh-keygen')
    if (why !== undefined) return context.skip(why)
    const words = Buffer.from('sch\xf6n\xff', 'latin1')
    writeFileSync(at('words'), Buffer.concat([words, Buffer.from('\r\n')]))
    for (const form of ['RFC4716', 'PKCS8']) {
      const script = `exec ssh-keygen -q -t ecdsa -m ${form} -N "$(head -c 6 '${at('words')}')" -f '${at(form)}'`
      execFileSync('sh', ['-c', script])
      expect(await asfaleia(['key', at(form)], { env: { ASFALEIA_PASSPHRASE_FILE: at('words') } })).toMatchObject({ code: 0, err: '' })
    }
    expect(await asfaleia(['key', '--out', at('new'), '--passphrase'], { env: { ASFALEIA_PASSPHRASE_FILE: at('words') } })).toMatchObject({
      code: 1,
      err: expect.stringContaining('the passphrase is not UTF-8 text') as string,
    })
  })

  test('reads a passphrase from a file, or asks at the terminal without an echo', async (context) => {
    const why = missing('ssh-keygen', 'script')
    if (why !== undefined) return context.skip(why)
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-a', '1', '-N', 'secret-word', '-f', at('locked')])
    const fingerprint = execFileSync('ssh-keygen', ['-lf', at('locked.pub')], { encoding: 'utf8' }).split(' ')[1]!
    writeFileSync(at('words'), 'secret-word\n')
    const fromFile = await asfaleia(['key', at('locked')], { env: { ASFALEIA_PASSPHRASE_FILE: at('words') } })
    expect(fromFile).toMatchObject({ code: 0, err: '' })
    expect(fromFile.out).toContain(fingerprint)
    // A program may also write the passphrase into a pipe.
    execFileSync('mkfifo', [at('pipe')])
    const piped = asfaleia(['key', at('locked')], { env: { ASFALEIA_PASSPHRASE_FILE: at('pipe') } })
    await writeFile(at('pipe'), 'secret-word\n')
    expect(await piped).toMatchObject({ code: 0, err: '' })
    expect(await asfaleia(['key', at('locked')], { env: { ASFALEIA_PASSPHRASE_FILE: '/dev/zero' } })).toMatchObject({
      code: 1,
      err: 'asfaleia: error: the file in ASFALEIA_PASSPHRASE_FILE is too large for a passphrase\n',
    })
    writeFileSync(at('words'), 'wrong-word\n')
    const wrong = await asfaleia(['key', at('locked')], { env: { ASFALEIA_PASSPHRASE_FILE: at('words') } })
    expect(wrong).toMatchObject({ code: 1, out: '' })
    expect(wrong.err).not.toContain('word')

    // In a terminal of its own, the output holds the program's text and the terminal's echo.
    const child = spawn('script', ['-qec', `${process.execPath} ${MAIN} key ${at('locked')}`, '/dev/null'])
    let shown = ''
    let asked = false
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text
      if (asked || !shown.includes('passphrase of')) return
      asked = true
      child.stdin.write('secret-worx\u{7f}d\r')
    })
    await once(child, 'close')
    expect(shown).toContain(fingerprint)
    expect(shown).not.toContain('secret')
  })
})

describe('the passphrase prompt', () => {
  beforeEach(needs('ssh-keygen', 'script'))

  const script = async (typed: string, signal?: NodeJS.Signals): Promise<string> => {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-a', '1', '-N', 'secret-word', '-f', at('asked')])
    // Standard input and outputs are pipes, so the prompt must use the terminal itself.
    const ask = `sh -c 'echo $$ >${at('pid')}; exec ${process.execPath} ${MAIN} key ${at('asked')}'`
    writeFileSync(at('ask.sh'), `stty -g\necho piped | ${ask} 2>${at('err')} | cat >${at('out')}\nstty -g\n`)
    const child = spawn('script', ['-qec', `sh ${at('ask.sh')}`, '/dev/null'])
    let shown = ''
    let asked = false
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text
      if (asked || !shown.includes('passphrase of')) return
      asked = true
      child.stdin.write(typed)
      if (signal !== undefined) process.kill(Number(readFileSync(at('pid'), 'utf8')), signal)
    })
    await once(child, 'close')
    execFileSync('rm', [at('asked'), at('asked.pub')])
    const [before, after] = shown.split(/\r?\n/).filter((line) => /^[0-9a-f]+(:[0-9a-f]+){8,}$/.test(line))
    expect(before).toBeDefined()
    expect(after).toBe(before)
    expect(shown).not.toContain('secret')
    return readFileSync(at('err'), 'utf8')
  }

  test.each<[string, string, NodeJS.Signals | undefined, string]>([
    ['an answer', 'secret-word\r', undefined, ''],
    ['an answer with ignored keys and corrections', 'wrong\u{15}secre\u{1a}\u{0}t-wox\u{7f}rd\n', undefined, ''],
    ['Ctrl-C', 'secret\u{3}', undefined, 'asfaleia: error: no passphrase entered\n'],
    ['Ctrl-D', 'secret\u{4}', undefined, 'asfaleia: error: no passphrase entered\n'],
    ['an endless answer', 'secret'.repeat(300), undefined, 'asfaleia: error: a passphrase has at most 1024 characters\n'],
    // Type nothing, because the shell echoes input that follows the end.
    ['SIGTERM', '', 'SIGTERM', 'asfaleia: error: interrupted\n'],
    ['SIGINT', '', 'SIGINT', 'asfaleia: error: interrupted\n'],
  ])('echoes nothing and restores the terminal after %s', async (_name, typed, signal, err) => {
    expect(await script(typed, signal)).toBe(err)
    expect(readFileSync(at('out'), 'utf8')).toMatch(err === '' ? /^ssh-ed25519 / : /^$/)
  })
})

test.each([[[]], [['a', 'b']], [['--out', 'x', 'y']], [['--no-such']], [['--out']]])('refuses the arguments %j', async (argv) => {
  const { code, err } = await asfaleia(['key', ...argv])
  expect(code).toBe(2)
  expect(err).toMatch(/^asfaleia: error: [^\n]+\nasfaleia: hint: [^\n]+\n$/)
})

test('key --help prints its usage', async () => {
  expect(await asfaleia(['key', '--help'])).toMatchObject({
    code: 0,
    err: '',
    out: expect.stringMatching(/^usage: asfaleia key/) as string,
  })
})
