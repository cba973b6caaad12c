import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ConfigError, type Problem } from '../../src/config/problem.ts'
import { checkHandoverFolder, checkOwner, readHandoverSecret } from '../../src/server/handover-secret.ts'

const folder = mkdtempSync(join(tmpdir(), 'asfaleia-secret-'))
afterAll(() => rmSync(folder, { recursive: true }))

const secret = randomBytes(32)
let files = 0
/** Writes a secret file with the given mode, and returns its path. */
function write(mode: number, text = `${secret.toString('base64')}\n`, name = 'secret'): string {
  const path = join(folder, `${name}${files++}`)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

function refusal(path: string): Problem | undefined {
  try {
    readHandoverSecret(path)
    return undefined
  } catch (error) {
    return (error as ConfigError).problems[0]
  }
}

describe('a handover secret file', () => {
  it.each([0o600, 0o400, 0o700])('of mode %o is read', (mode) => {
    expect(Buffer.from(readHandoverSecret(write(mode))).equals(secret)).toBe(true)
  })

  it.each([0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o666])('of mode %o is refused, with the command that mends it', (mode) => {
    const path = write(mode)
    const octal = `0${mode.toString(8)}`
    expect(refusal(path)).toEqual({
      key: 'handover-secret',
      problem: `other users may read or change the file (mode ${octal})`,
      hint: `run: chmod 600 ${path}`,
    })
    execFileSync('sh', ['-c', refusal(path)!.hint.slice('run: '.length)])
    expect(refusal(path)).toBeUndefined()
  })

  it('is named in that command so that a shell understands it', () => {
    const path = write(0o644, undefined, "it's; a name")
    execFileSync('sh', ['-c', refusal(path)!.hint.slice('run: '.length)])
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('of another user is refused, unless that user is root', () => {
    const as = (uid: number, mode: number): string | undefined => checkOwner({ uid, mode: 0o100_000 | mode }, '/run/secret', 1_000)?.problem
    expect(checkOwner({ uid: 1_001, mode: 0o100_600 }, '/run/secret', 1_000)).toEqual({
      problem: 'another user owns the file',
      hint: 'run: sudo chown 1000 /run/secret; chmod 600 /run/secret',
    })
    expect(as(1_001, 0o444)).toBe('another user owns the file')
    // The only way to read a file of root's, for a relay that is not root, is by its group.
    expect([as(0, 0o600), as(0, 0o640), as(1_000, 0o600)]).toEqual([undefined, undefined, undefined])
    expect(checkOwner({ uid: 0, mode: 0o100_644 }, '/run/secret', 1_000)).toEqual({
      problem: 'other users may read or change the file (mode 0644)',
      hint: 'run: sudo chmod 640 /run/secret',
    })
    expect(as(0, 0o660)).toBe('other users may read or change the file (mode 0660)')
  })

  it.each([
    ['too few bytes', `${randomBytes(31).toString('base64')}\n`],
    ['too many bytes', `${randomBytes(33).toString('base64')}\n`],
    ['no base64', 'x'.repeat(44)],
    ['no padding', secret.toString('base64').slice(0, -1)],
    ['a line break inside', secret.toString('base64').replace(/^.{20}/, '$&\n')],
    ['more than a secret', `${secret.toString('base64')}\n${'A'.repeat(1_000_000)}`],
    ['nothing', ''],
  ])('with %s is refused', (_name, text) => {
    expect(refusal(write(0o600, text))).toMatchObject({ problem: 'the file does not hold 32 bytes in base64' })
  })

  it('that is a FIFO or a device is refused at once and not waited for', () => {
    const path = join(folder, 'fifo')
    execFileSync('mkfifo', ['-m', '600', path])
    expect(refusal(path)).toMatchObject({ problem: 'the file does not hold 32 bytes in base64' })
    expect(refusal('/dev/zero')).toBeDefined()
    expect(refusal(join(folder, 'none'))).toMatchObject({ problem: 'the file cannot be read' })
  })
})

describe('the folder of the handover socket', () => {
  /** Makes a folder with a mode, and returns why it is refused. */
  function refusalOf(mode: number, owner?: number): string | undefined {
    const path = join(folder, `folder${files++}`)
    mkdirSync(path)
    chmodSync(path, mode)
    if (owner !== undefined) chownSync(path, owner, owner)
    try {
      checkHandoverFolder(join(path, 'handover.sock'))
      return undefined
    } catch (error) {
      return (error as ConfigError).problems[0]?.problem
    }
  }

  it.each([0o700, 0o750, 0o755, 0o711])('may have mode %o', (mode) => {
    expect(refusalOf(mode)).toBeUndefined()
  })

  it.each([0o720, 0o770, 0o702, 0o707, 0o777, 0o1777])('is refused with mode %o: others may write to it', (mode) => {
    expect(refusalOf(mode)).toBe('other users may write to its folder')
  })

  // Only root can give a folder away.
  it.each(process.getuid?.() === 0 ? [65_534] : [])('is refused if another user owns it: %i', (owner) => {
    expect(refusalOf(0o700, owner)).toBe('other users may write to its folder')
  })

  it('must exist', () => {
    expect(() => checkHandoverFolder(join(folder, 'none', 'handover.sock'))).toThrow(ConfigError)
  })
})
