import { describe, expect, it, test } from 'vitest'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { encodeString } from '../../src/auth/ssh-wire.ts'
import { parseAdmitted, parseExpiry } from '../../src/server/admitted.ts'
import { describeMistake, type MistakeName, MISTAKES } from '../../src/server/mistake.ts'
import { buildBlob, makeFidoKey } from '../auth/openssh.ts'
import { createPerson } from '../support/wire.ts'

const { line } = createPerson()
const other = createPerson().line
const fido = makeFidoKey('ed25519').line
const { fingerprint } = parsePublicKey(line)
const parse = (text: string): ReturnType<typeof parseAdmitted> => parseAdmitted(Buffer.from(text, 'latin1'))
/** Returns the rights of a line with these options, or the mistake. */
const rights = (options: string, key = line): object | string => {
  const { entries, mistakes } = parse(`${options} ${key} a`)
  if (mistakes.length > 0) return mistakes[0]!.what
  const { line: number, fingerprint: _key, ...more } = entries[0]!
  expect([number, entries.length]).toEqual([1, 1])
  return more
}

describe('an option', () => {
  it.each<[options: string, rights: object]>([
    ['send-only', { only: 'send' }],
    ['Receive-Only', { only: 'receive' }],
    ['per-sender=1M', { perSender: 1_048_576 }],
    ['per-sender="512K"', { perSender: 524_288 }],
    ['mailbox=1000', { places: 1_000 }],
    ['expiry-time="20270102Z"', { expires: Date.UTC(2027, 0, 2) }],
    ['expiry-time="20270102Z",expiry-time="202612312359Z"', { expires: Date.UTC(2026, 11, 31, 23, 59) }],
    ['send-only,per-sender=2M,expiry-time="20270102Z"', { only: 'send', perSender: 2_097_152, expires: Date.UTC(2027, 0, 2) }],
  ])('is honoured: %s', (options, expected) => {
    expect(rights(options)).toEqual(expected)
  })

  it('verify-required is honoured for a FIDO key', () => {
    expect(rights('verify-required', fido)).toEqual({ mustVerify: true })
    expect(rights('verify-required')).toBe('not-fido')
  })

  it.each([
    'restrict',
    'pty,no-pty,user-rc,no-user-rc',
    'port-forwarding,no-port-forwarding,agent-forwarding,no-agent-forwarding,x11-forwarding,no-X11-forwarding',
    'touch-required',
    'permitopen="localhost:80",permitlisten="8080",tunnel="0",environment="A=b, \\"c\\""',
  ])('is ignored: %s', (options) => {
    expect(rights(options)).toEqual({})
  })

  it.each<[options: string, what: MistakeName]>([
    ['from="10.0.0.0/8"', 'from'],
    ['restrict,command="true"', 'command'],
    ['no-touch-required', 'no-touch'],
    ['cert-authority', 'authority'],
    ['principals="a"', 'authority'],
    ['no-restrict', 'unknown-option'],
    ['zos-key-ring-label="a"', 'unknown-option'],
    ['constructor', 'unknown-option'],
    ['restrict,', 'bad-options'],
    ['restrict="yes"', 'bad-value'],
    ['expiry-time=20270102Z', 'bad-value'],
    ['expiry-time="tomorrow"', 'bad-value'],
    ['permitopen=1', 'bad-value'],
    ['per-sender=1K', 'bad-value'],
    ['per-sender', 'bad-value'],
    ['mailbox=0', 'bad-value'],
    ['mailbox=8,mailbox=9', 'double-option'],
    ['send-only,receive-only', 'contradiction'],
    ['send-only,mailbox=8', 'contradiction'],
    ['receive-only,per-sender=1M', 'contradiction'],
  ])('makes the line a mistake: %s', (options, what) => {
    expect(rights(options)).toBe(what)
  })
})

describe('a list', () => {
  it('may have tabs, CRLF, a byte order mark, comments in any bytes, and no line break at its end', () => {
    const text = `\xef\xbb\xbf# \xff\xfe people\r\n\r\n \t${line.replace(' ', '\t \t')}\tAlice\xe9\r\nno-pty\t${other}`
    expect(parse(text)).toEqual({
      entries: [
        { fingerprint, line: 3 },
        { fingerprint: parsePublicKey(other).fingerprint, line: 4 },
      ],
      mistakes: [],
    })
  })

  it('names the line of each mistake, and repeats nothing of it', () => {
    const weak = `ssh-ed25519 ${Buffer.concat([encodeString('ssh-ed25519'), encodeString(Buffer.alloc(32))]).toString('base64')}`
    const rsa = (bits: number, exponent: bigint): string =>
      `ssh-rsa ${buildBlob('ssh-rsa', exponent, (1n << BigInt(bits - 1)) + 1n).toString('base64')}`
    const { entries, mistakes } = parse(
      `${line}\nSECRET\n${weak}\nssh-dss AAAAB3NzSECRET\n${line.slice(0, -1)}\nssh-ed25519\n"SECRET ${other}\n${rsa(1_024, 65_537n)}\n${rsa(2_048, 3n)}`,
    )
    expect(entries).toHaveLength(1)
    expect(mistakes.map(describeMistake)).toEqual([
      'line 2 is no key',
      'line 3 has a damaged or weak key',
      'line 4 has a key of a type that cannot log in',
      'line 5 has a damaged or weak key',
      'line 6 is no key',
      'line 7 is no key',
      'line 8 has an RSA key whose size is not between 2,048 and 8,192 bits',
      'line 9 has an RSA key whose public exponent is not an odd number from 65,537 to 33 bits',
    ])
  })

  it('names other formats, and UTF-16', () => {
    const first = (bytes: Uint8Array): string | undefined => parseAdmitted(bytes).mistakes.map(describeMistake)[0]
    for (const mark of ['\u{feff}', '']) {
      const text = Buffer.from(`${mark}${line}\r\n`, 'utf16le')
      expect(first(text)).toBe('line 1 is in UTF-16')
      expect(first(Buffer.from(text).swap16())).toBe('line 1 is in UTF-16')
    }
    for (const text of [
      'PuTTY-User-Key-File-3: ssh-ed25519',
      '---- BEGIN SSH2 PUBLIC KEY ----',
      '-----BEGIN PUBLIC KEY-----',
      'AGE-SECRET-KEY-1Q',
      'age1q',
    ])
      expect(first(Buffer.from(text))).toBe('line 1 is in the format of another program')
  })

  it('may name a key twice only with the same options', () => {
    expect(parse(`send-only ${line}\nrestrict,send-only ${line} again`).entries).toHaveLength(1)
    expect(parse(`${line}\n\nsend-only ${line}`).mistakes).toEqual([{ line: 3, what: 'other-options' }])
  })

  it('may have 10,000 lines', () => {
    const lines = Array.from({ length: 10_000 }, (_, n) => {
      const key = Buffer.alloc(32)
      key.writeUInt32BE(n)
      return `restrict ssh-ed25519 ${Buffer.concat([encodeString('ssh-ed25519'), encodeString(key)]).toString('base64')} ${n}`
    })
    // A point that passed the full check before is not checked again.
    expect(parseAdmitted(Buffer.from(lines.join('\r\n')), () => true).entries).toHaveLength(10_000)
    lines[6] = 'nonsense'
    expect(parseAdmitted(Buffer.from(lines.join('\r\n')), () => true).mistakes).toEqual([{ line: 7, what: 'no-key' }])
  })

  it('may be empty', () => {
    expect(parse('')).toEqual({ entries: [], mistakes: [] })
  })
})

test('a time is in local time, or in UTC with Z', () => {
  expect(parseExpiry('20270228')).toBe(new Date(2027, 1, 28).getTime())
  expect(parseExpiry('202702281530')).toBe(new Date(2027, 1, 28, 15, 30).getTime())
  expect(parseExpiry('20270228153045utc')).toBe(Date.UTC(2027, 1, 28, 15, 30, 45))
  for (const text of ['20270229', '20271301', '2027022824', '202702282400', '20270228153060', '2027-02-28', '', 'Z', '20270228 Z']) {
    expect([text, parseExpiry(text)]).toEqual([text, undefined])
  }
})

test('each mistake has a text that continues a sentence, and a hint', () => {
  for (const [text, hint] of Object.values(MISTAKES)) expect([text, hint].join()).toMatch(/^(?:is|has|the file) .*[^.],.*[^.]$/)
})
