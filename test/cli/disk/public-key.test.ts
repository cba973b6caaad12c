/** Public keys as people have them: every command reads the same texts, and refuses the same with a reason. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeMpint, encodeString } from '../../../src/auth/ssh-wire.ts'
import { asfaleia } from '../../support/command.ts'
import { missing } from '../../support/programs.ts'
import { createPerson } from '../../support/wire.ts'

const { line } = createPerson()
const other = createPerson().line
const [type, base64] = line.split(' ') as [string, string]

let root: string
let files = 0
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-public-'))
  await as(['me', '--name', 'Alice', '--relay', 'localhost'])
})
afterAll(() => {
  rmSync(root, { recursive: true })
})

const as = (argv: readonly string[], home = 'alice', input?: Uint8Array): ReturnType<typeof asfaleia> =>
  asfaleia(argv, { env: { ASFALEIA_HOME: join(root, home) }, ...(input !== undefined && { input }) })

function save(text: string | Uint8Array): string {
  const path = join(root, `key${files++}.pub`)
  writeFileSync(path, typeof text === 'string' ? Buffer.from(text, 'latin1') : text, { mode: 0o600 })
  return path
}

/**
 * The commands that read a public key, and what each prints once it has read one: it stops there, without a relay, an
 * agent or an onion service.
 */
const READERS: Record<string, { readonly run: (path: string) => ReturnType<typeof asfaleia>; readonly read: RegExp }> = {
  'contact add': { run: (path) => as(['contact', 'add', path, '--name', `n${files++}`]), read: /--relay is missing/ },
  'contact add -': {
    run: (path) => as(['contact', 'add', '-', '--name', `n${files++}`], 'alice', readFileSync(path)),
    read: /--relay is missing/,
  },
  send: { run: (path) => as(['send', path, 'hi']), read: /--relay is missing/ },
  key: { run: (path) => as(['key', path]), read: /^$/ },
  'me --key': {
    run: (path) => as(['me', '--name', 'Al', '--relay', 'localhost', '--key', path], `home${files++}`),
    read: /there is no SSH agent/,
  },
  'admit add': { run: (path) => as(['admit', 'add', path, '--admit', join(root, `list${files++}`)]), read: /^$/ },
  'backup --to': {
    run: (path) => as(['backup', '--out', join(root, 'never'), '--service', join(root, 'nothing'), '--to', path]),
    read: /nothing/,
  },
}

const UTF8_MARK = '\xef\xbb\xbf'

describe.each(Object.entries(READERS))('%s', (_name, { run, read }) => {
  test.each([
    ['a byte order mark', `${UTF8_MARK}${line} x\n`],
    ['options', `restrict,no-pty,command="a b",from="*.example" ${line} x\n`],
    ['options for other ends', `expiry-time="20300101",send-only ${line}\n`],
    ['tabs and runs of blanks', `  ${type}\t\t${base64}  \tx\n`],
    ['CRLF', `# mine\r\n\r\n${line} x\r\n`],
    ['a comment in latin-1', `${line} Zo\xeb\n`],
    ['no line break', line],
  ])('reads a key with %s', async (_case, text) => {
    expect((await run(save(text))).err).toMatch(read)
  })
})

const rsa = (bits: number, exponent: Uint8Array): string => {
  const modulus = Buffer.alloc(bits / 8, 0xff)
  return `ssh-rsa ${Buffer.concat([encodeString('ssh-rsa'), encodeMpint(exponent), encodeMpint(modulus)]).toString('base64')}`
}
const F4 = Buffer.of(1, 0, 1)

describe.each(Object.entries(READERS).filter(([name]) => name !== 'backup --to'))('%s', (_name, { run }) => {
  test.each<[string, string | Uint8Array, RegExp]>([
    ['an empty file', '', /is empty/],
    ['a comment alone', '# nothing\n', /contains no key/],
    ['two keys', `${line} a\n${other} b\n`, /holds 2 keys; expected one/],
    ['an option that sshd does not know', `frobnicate ${line}\n`, /option that sshd does not know/],
    ['an option of wrong form', `from=x ${line}\n`, /options before the key are malformed/],
    ['the key of an authority', `cert-authority ${line}\n`, /key of an authority/],
    ['the key of an authority with principals', `principals="a" ${line}\n`, /key of an authority/],
    ['a line of known_hosts', `example.org,192.0.2.1 ${line}\n`, /known_hosts/],
    ['a line of known_hosts with a port', `[example.org]:22 ${line}\n`, /known_hosts/],
    ['a hashed line of known_hosts', `|1|AAAA|BBBB ${line}\n`, /known_hosts/],
    ['a file of known_hosts', `# x\nexample.org ${line}\nexample.com ${other}\n`, /line 2: .*known_hosts/],
    ['a marked line of known_hosts', `@cert-authority *.example.org ${line}\n`, /known_hosts/],
    ['a key broken over lines', `${type} ${base64.slice(0, 30)}\n${base64.slice(30)}\n`, /2 lines.*\n.*join it/],
    ['a key cut off', line.slice(0, 50), /damaged or cut off/],
    ['another type', 'ssh-dss AAAAB3NzaC1kc3MAAAAB', /ssh-dss cannot be used/],
    ['a short RSA key', rsa(1_024, F4), /size of the RSA key/],
    ['a long RSA key', rsa(16_384, F4), /size of the RSA key/],
    ['an RSA exponent of 3', rsa(2_048, Buffer.of(3)), /public exponent of the RSA key/],
    ['an RSA exponent of 65 bits', rsa(2_048, Buffer.of(1, 0, 0, 0, 0, 0, 0, 0, 1)), /public exponent of the RSA key/],
    ['a PuTTY key', 'PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n', /private key of PuTTY\n.*puttygen \S+ -/],
    ['RFC 4716', '---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n', /RFC 4716\n.*ssh-keygen -i -f \S+key/],
    ['PEM', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n', /in PEM\n.*ssh-keygen -i -m PKCS8 -f \S+key/],
    ['PKCS1', '-----BEGIN RSA PUBLIC KEY-----\nAAAA\n', /in PEM\n.*ssh-keygen -i -m PEM -f \S+key/],
    ['an age identity', '# created: x\nAGE-SECRET-KEY-1QQQQ\n', /age identity.*\n.*asfaleia key new/],
    ['an age recipient', 'age1qqqq\n', /age recipient/],
    ['UTF-16 with a mark', Buffer.from(`\u{feff}${line}\r\n`, 'utf16le'), /UTF-16\n.*iconv -f UTF-16 -t UTF-8 \S+key/],
    ['UTF-16 without a mark', Buffer.from(`${line}\r\n`, 'utf16le'), /UTF-16\n.*iconv -f UTF-16LE/],
    ['UTF-16 of the other order', Buffer.from(`${line}\r\n`, 'utf16le').swap16(), /UTF-16\n.*iconv -f UTF-16BE/],
  ])('refuses %s with a reason', async (_case, text, problem) => {
    const { code, err } = await run(save(text))
    expect(err).toMatch(
      problem.source.includes('key') && _name === 'contact add -' ? new RegExp(problem.source.replace('\\S+key', 'FILE')) : problem,
    )
    expect(code).toBe(1)
    expect(err).not.toContain(base64)
  })
})

describe('a word of the command line', () => {
  test.each([
    ['a byte order mark', `\u{feff}${line} x`],
    ['options', `restrict,no-pty ${line}`],
    ['a tab', `${type}\t${base64}`],
    ['runs of blanks', `${type}  ${base64}   Alice A.`],
  ])('with %s is a key for each command', async (_case, word) => {
    expect((await as(['contact', 'add', word, '--name', 'new'])).err).toContain('--relay is missing')
    expect((await as(['send', word, 'hi'])).err).toContain('--relay is missing')
    expect(await as(['admit', 'add', word, '--admit', join(root, `list${files++}`)])).toMatchObject({ code: 0 })
    expect((await as(['backup', '--out', '-', '--service', join(root, 'nothing'), '--to', word])).err).toContain('nothing')
  })
})

test('a card in place of a key is named', async () => {
  const { out } = await as(['me', '--text'])
  const path = save(Buffer.from(out))
  expect((await as(['send', path, 'hi'])).err).toMatch(/is a contact card\n.*`asfaleia contact add \S+`/)
  expect((await as(['key', path])).err).toContain('is a contact card')
})

test('backup --to reads a file with a recipient a line, and names the line that is none', async () => {
  const { err } = await READERS['backup --to']!.run(save(`${line}\nrestrict ${other}\n`))
  expect(err).toMatch(READERS['backup --to']!.read)
  expect((await READERS['backup --to']!.run(save(`${line}\n\nhello\n`))).err).toContain('line 3: this is no public key')
  expect((await READERS['backup --to']!.run(save('AGE-SECRET-KEY-1QQQQ\n'))).err).toContain('an age identity')
})

test('the commands that the hints name convert the formats', async (context) => {
  const reason = missing('ssh-keygen')
  context.skip(reason !== undefined, reason)
  const path = join(root, 'rsa')
  execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-C', 'x', '-f', path])
  const right = readFileSync(`${path}.pub`, 'utf8').split(' ').slice(0, 2).join(' ')
  for (const form of ['RFC4716', 'PKCS8', 'PEM']) {
    const foreign = save(execFileSync('ssh-keygen', ['-e', '-m', form, '-f', path]))
    const { err } = await as(['key', foreign])
    const command = /`(.*) > NEW.pub`/.exec(err)?.[1]
    const converted = execFileSync('sh', ['-c', command!]).toString()
    expect((await as(['key', save(converted)])).out).toContain(right)
  }
})
