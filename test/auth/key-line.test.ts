import { describe, expect, it } from 'vitest'
import { parseKeyLine, parseKeyOptions, splitLines } from '../../src/auth/key-line.ts'
import { createPerson } from '../support/wire.ts'

const { line } = createPerson()
const [type, base64] = line.split(' ') as [string, string]
const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const read = (text: string): unknown => {
  const parsed = parseKeyLine([...splitLines(bytes(text))][0]!.text)
  if (typeof parsed === 'string') return parsed
  const { options, key, comment } = parsed
  return { options, key: Buffer.from(key).toString('latin1'), comment: Buffer.from(comment).toString('latin1') }
}

describe('a file', () => {
  it('is split at LF; CR, blanks, tabs and a byte order mark do not count', () => {
    const text = '\xef\xbb\xbfa b\r\n\t c \t\n\n\xef\xbb\xbfd'
    const lines = [...splitLines(bytes(text))]
    expect(lines.map((each) => Buffer.from(each.text).toString('latin1'))).toEqual(['a b', 'c', '', '\xef\xbb\xbfd'])
    expect(lines.map(({ number, start, end }) => [number, text.slice(start, end)])).toEqual([
      [1, '\xef\xbb\xbfa b\r\n'],
      [2, '\t c \t\n'],
      [3, '\n'],
      [4, '\xef\xbb\xbfd'],
    ])
    expect([...splitLines(bytes(''))]).toEqual([])
  })
})

describe('a line', () => {
  it.each([
    ['one space', line, '', ''],
    ['runs of blanks and tabs', `\t ${type} \t\t ${base64}\t \t Alice  A. \t`, '', 'Alice  A.'],
    ['a comment in any bytes', `${type} ${base64} \xff\xfe\x00"'#`, '', '\xff\xfe\x00"\'#'],
    ['CRLF', `${type} ${base64}\r\n`, '', ''],
    ['a byte order mark', `\xef\xbb\xbf${type} ${base64}`, '', ''],
    ['options', `restrict,no-pty\t${type}  ${base64} a`, 'restrict,no-pty', 'a'],
    ['blanks in a quoted option', `command="a \\" b",no-pty ${type} ${base64}`, 'command="a \\" b",no-pty', ''],
    ['a value that looks like a key', `command="x AAAA" ${type} ${base64}`, 'command="x AAAA"', ''],
  ])('with %s gives its fields', (_name, text, options, comment) => {
    expect(read(text)).toEqual({ options, key: line, comment })
  })

  it('with an unknown type of key is a key without options', () => {
    expect(read('ssh-dss AAAAB3Nz a')).toEqual({ options: '', key: 'ssh-dss AAAAB3Nz', comment: 'a' })
    expect(read(`${type} nonsense`)).toEqual({ options: '', key: `${type} nonsense`, comment: '' })
  })

  it.each(['# a comment', '  #', '\n', ' \t'])('%j is empty', (text) => {
    expect(read(text)).toBe('empty')
  })

  it.each(['nonsense', type, `restrict ${type}`, `command="open ${type} ${base64}`, 'restrict'])('%j is broken', (text) => {
    expect(read(text)).toBe('broken')
  })
})

describe('options', () => {
  it('are split at commas outside of quotes', () => {
    expect(parseKeyOptions('Restrict,from="a,b",command="say \\"x\\"",mailbox=8,per-sender="1M",expiry-time=')).toEqual([
      { name: 'restrict', value: undefined, isQuoted: false },
      { name: 'from', value: 'a,b', isQuoted: true },
      { name: 'command', value: 'say "x"', isQuoted: true },
      { name: 'mailbox', value: '8', isQuoted: false },
      { name: 'per-sender', value: '1M', isQuoted: true },
      { name: 'expiry-time', value: '', isQuoted: false },
    ])
  })

  it.each(['a,', ',a', 'a,,b', 'a="b"c', 'a="b', 'a"b"', 'a=b"c', '=', 'a b', '{}'])('%j have a wrong form', (text) => {
    expect(parseKeyOptions(text)).toBeUndefined()
  })
})
