import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ArchiveError, decodeArchive, encodeArchive } from '../../src/onion/archive.ts'
import { list, scratch } from '../support/service.ts'

const FILES = new Map([
  ['hostname', Buffer.from('x.onion\n')],
  ['authorized_clients/alice.auth', Buffer.alloc(513, 7)],
  ['empty', Buffer.alloc(0)],
  ['authorized_clients/bob@example.org of the café.auth', Buffer.from('x')],
])

const plain = (files: ReadonlyMap<string, Uint8Array>): [string, string][] =>
  [...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString('hex')])

test('an archive decodes to the encoded files', () => {
  const path = fc.stringMatching(/^[a-z][a-z0-9._-]{0,20}(?:\/[a-z][a-z0-9._-]{0,20})?$/)
  fc.assert(
    fc.property(fc.dictionary(path, fc.uint8Array({ maxLength: 2_000 })), (given) => {
      const files = new Map(Object.entries(given))
      const archive = encodeArchive(files)
      expect(archive.length % 512).toBe(0)
      expect(plain(decodeArchive(archive))).toEqual(plain(files))
    }),
  )
})

test('an archive names no owner and no time', () => {
  const head = encodeArchive(new Map([['hostname', Buffer.from('x')]]))
  const field = (at: number, length: number): string => head.toString('latin1', at, at + length)
  expect([field(108, 8), field(116, 8), field(136, 12)]).toEqual(['0000000\0', '0000000\0', '00000000000\0'])
  expect(head.subarray(265, 345).every((byte) => byte === 0)).toBe(true)
})

test('an archive of the time before POSIX, whose files have the type NUL, is read', () => {
  const archive = Buffer.from(encodeArchive(new Map([['hostname', Buffer.from('x.onion')]])))
  archive[156] = 0
  archive.fill(' ', 148, 156)
  const sum = archive.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  expect(Buffer.from(decodeArchive(archive).get('hostname')!).toString()).toBe('x.onion')
})

describe('with the tar program', () => {
  test('our archive unpacks into files and folders for the owner only', () => {
    const folder = scratch()
    execFileSync('tar', ['-x', '-C', folder], { input: encodeArchive(FILES) })
    expect(list(folder)).toEqual({
      authorized_clients: '700',
      'authorized_clients/alice.auth': `600 ${'07'.repeat(513)}`,
      'authorized_clients/bob@example.org of the café.auth': '600 78',
      empty: '600',
      hostname: `600 ${Buffer.from('x.onion\n').toString('hex')}`,
    })
  })

  test.each([['--format=ustar'], ['--format=gnu']])('decodeArchive reads its archives (%s)', (format) => {
    const folder = scratch()
    mkdirSync(join(folder, 'authorized_clients'))
    for (const [path, bytes] of FILES) writeFileSync(join(folder, path), bytes)
    const archive = execFileSync('tar', ['-c', format, '-C', folder, '.'])
    expect(new Map(plain(decodeArchive(archive)))).toEqual(new Map(plain(FILES)))
  })

  test('decodeArchive refuses a symbolic link in its archive', () => {
    const folder = scratch()
    execFileSync('ln', ['-s', '/etc/passwd', join(folder, 'hostname')])
    expect(readFileSync(join(folder, 'hostname'), 'utf8')).not.toBe('')
    expect(() => decodeArchive(execFileSync('tar', ['-c', '-C', folder, '.']))).toThrow(ArchiveError)
  })
})

test('decodeArchive refuses any changed header byte and any truncation', () => {
  const archive = encodeArchive(FILES)
  for (let at = 0; at < 512; at++) {
    const changed = Buffer.from(archive)
    changed[at]! ^= 4
    // The byte after the checksum is a terminator of any value.
    if (at !== 155) expect(() => plain(decodeArchive(changed)), `byte ${at}`).toThrow(ArchiveError)
  }
  // Copies: behind a view there may be more memory, and a read beyond the end goes unnoticed.
  for (let end = 0; end < archive.length - 1_024; end += 50) {
    expect(() => decodeArchive(Uint8Array.from(archive.subarray(0, end))), `${end} bytes`).toThrow(ArchiveError)
  }
  expect(() => decodeArchive(new Uint8Array())).toThrow(ArchiveError)
})

test('decodeArchive throws only an ArchiveError on junk', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_048 }), (bytes) => {
      try {
        decodeArchive(bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(ArchiveError)
      }
    }),
  )
})

test.each([['a\nline'], ['a\u{7f}'], ['ü'.repeat(51)], ['x'.repeat(101)], ['']])('encodeArchive refuses the path %j', (path) => {
  expect(() => encodeArchive(new Map([[path, Buffer.alloc(1)]]))).toThrow(TypeError)
})
