/**
 * The documents match the code: the tables of docs/protocol.md equal the code's, file names and links resolve,
 * and the commands and programs shown there work.
 */
import { execFile } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { copyFileSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parsePublicKey } from '../src/auth/ssh-key.ts'
import { encodeMpint, encodeString, encodeUint32 } from '../src/auth/ssh-wire.ts'
import { ProtocolError, type ErrorRow, ERRORS, NOTICE_CODES } from '../src/protocol/errors.ts'
import { DEFAULT_LIMITS } from '../src/protocol/limits.ts'
import { PACKETS } from '../src/protocol/packets.ts'
import { encodeLimits } from '../src/protocol/welcome.ts'
import { PACKAGE_VERSION } from '../src/version.ts'
import { startRelay, VECTORS } from './support/example.ts'

const ROOT = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const protocol = read('docs/protocol.md')

/** Returns the rows of the table whose head begins with these cells, as lists of cells without code marks. */
function table(...head: string[]): string[][] {
  const lines = protocol.split('\n')
  const cells = (line: string): string[] =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', ''))
  const at = lines.findIndex((line) => line.startsWith('|') && head.every((cell, index) => cells(line)[index] === cell))
  if (at === -1) throw new Error(`found no table ${head.join(' | ')}`)
  const rows = lines.slice(at + 2)
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith('|')),
    )
    .map(cells)
}

describe('the tables of docs/protocol.md', () => {
  it('list the packets with their fields', () => {
    const rows = table('no', 'name', 'from', 'fields').map(([no, name, from, text = '']) => {
      // `a; b [; c]`; an ellipsis in the brackets means that the field repeats.
      const [required = '', optional] = text.split('[')
      const count = (fields: string): number => fields.split(';').filter((field) => field.trim() !== '').length
      const min = count(required)
      return [
        name,
        { no: Number(no), from, min, max: optional?.includes('…') ? Infinity : min + count(optional?.replace(/\]$/, '') ?? '') },
      ]
    })
    expect(Object.fromEntries(rows)).toEqual(PACKETS)
    expect(rows).toHaveLength(Object.keys(PACKETS).length)
  })

  it('give an answer of the relay for each request and for no other packet', () => {
    const answers = table('no', 'name', 'from', 'fields', 'answer').map(([, name, from, , answer]) => ({ name, from, answer: answer! }))
    const relays = Object.values(PACKETS)
      .filter(({ from }) => from === 'relay')
      .map(({ no }) => no)
    for (const { from, answer } of answers.filter(({ name }) => name !== 'NOTICE')) {
      if (from === 'client') expect(relays).toContain(Number(/^\d+/.exec(answer)?.[0]))
      else expect(answer).toBe('')
    }
  })

  it('list the errors and their effect on the connection', () => {
    const rows = table('code', 'when').map(([code, , connection]) => [code, connection])
    const does = ({ connection, unproven }: ErrorRow): string => {
      const text = typeof connection === 'number' ? `stays; closes after ${connection}` : connection
      return unproven === undefined ? text : `${text}; closes after ${unproven} before a proof`
    }
    expect(rows).toEqual(Object.entries(ERRORS).map(([code, row]) => [code, does(row)]))
  })

  it('list the codes of notices', () => {
    const [, text] = /^\*\*NOTICE\*\*(.*?)\n\n/ms.exec(protocol)!
    expect([...text!.matchAll(/`([a-z-]+)`/g)].map(([, code]) => code)).toEqual(NOTICE_CODES)
  })

  it('list the limits under the keys of WELCOME', () => {
    const units: Record<string, number> = { '': 1, bytes: 1, MiB: 1_048_576, s: 1, min: 60, h: 3_600, days: 86_400 }
    const rows = table('limit', 'default', 'key').map(([limit, text, key]) => {
      const [, number, unit] = /^([\d,]+) ?(\w*)$/.exec(text!)!
      return { limit, key: key!, value: Number(number!.replaceAll(',', '')) * units[unit!]! }
    })
    const told = encodeLimits(DEFAULT_LIMITS)
      .split(';')
      .map((field) => field.split('='))
    const documented = rows.filter(({ key }) => key !== '').map(({ key, value }) => [key, String(value)])
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(told))
    const { bundle, bundleSeconds, handleSeconds, handles, writeSeconds } = DEFAULT_LIMITS
    const untold = [bundle, bundleSeconds, handleSeconds, handles, writeSeconds]
    expect(rows.filter(({ key }) => key === '').map(({ value }) => value)).toEqual(untold)
    expect(Object.keys(DEFAULT_LIMITS)).toHaveLength(rows.length)
  })
})

describe('the key types of docs/protocol.md', () => {
  const documented = table('type', 'decrypt', 'sign')
    .slice(0, -1)
    .flatMap(([types, decrypt]) => types!.split(', ').map((type) => ({ type, canDecrypt: decrypt === 'yes' })))
  const partsOf = ({ publicKey }: { publicKey: KeyObject }): Record<'x' | 'y' | 'n' | 'e', Buffer> => {
    const exported = publicKey.export({ format: 'jwk' })
    const part = (name: 'x' | 'y' | 'n' | 'e'): Buffer => Buffer.from(exported[name] ?? '', 'base64url')
    return { x: part('x'), y: part('y'), n: part('n'), e: part('e') }
  }
  const ed25519Point = (): Uint8Array => encodeString(partsOf(generateKeyPairSync('ed25519')).x)

  /** Returns the fields that follow the type in a key's blob. */
  function material(type: string): Uint8Array[] {
    const [curve] = /nistp(256|384|521)/.exec(type) ?? []
    const application = type.startsWith('sk-') ? [encodeString('ssh:')] : []
    if (curve !== undefined) {
      const { x, y } = partsOf(generateKeyPairSync('ec', { namedCurve: curve.replace('nistp', 'P-') }))
      return [encodeString(curve), encodeString(Buffer.concat([Buffer.of(4), x, y])), ...application]
    }
    if (type === 'ssh-rsa') {
      const { n, e } = partsOf(generateKeyPairSync('rsa', { modulusLength: 2_048 }))
      return [encodeMpint(e), encodeMpint(n)]
    }
    return [ed25519Point(), ...application]
  }

  const lineOf = (type: string, ...parts: Uint8Array[]): string =>
    `${type} ${Buffer.concat([encodeString(type), ...parts]).toString('base64')}`

  it.each(documented)('$type is accepted, and so is its certificate', ({ type, canDecrypt }) => {
    const parts = material(type)
    const key = parsePublicKey(lineOf(type, ...parts))
    expect(key).toMatchObject({ type, canDecrypt })

    // The minimum that PROTOCOL.certkeys requires of a user certificate.
    const certificateType = `${type.replace('@openssh.com', '')}-cert-v01@openssh.com`
    const nothing = encodeString('')
    const authority = encodeString(Buffer.concat([encodeString('ssh-ed25519'), ed25519Point()]))
    const signature = encodeString(Buffer.concat([encodeString('ssh-ed25519'), encodeString(Buffer.alloc(64))]))
    const tail = [Buffer.alloc(8), encodeUint32(1), nothing, nothing, Buffer.alloc(16), nothing, nothing, nothing, authority, signature]
    const certificate = parsePublicKey(lineOf(certificateType, encodeString(Buffer.alloc(32)), ...parts, ...tail))
    expect(certificate.canDecrypt).toBe(canDecrypt)
    expect(Buffer.from(certificate.fingerprint).equals(key.fingerprint)).toBe(true)
  })

  it.each(['ssh-dss', 'ssh-ed448', 'ssh-xmss@openssh.com', 'webauthn-sk-ecdsa-sha2-nistp256@openssh.com', 'sk-ssh-rsa@openssh.com'])(
    '%s, which the table does not list, is refused as unsupported',
    (type) => {
      expect(() => parsePublicKey(lineOf(type, encodeString(Buffer.alloc(32))))).toThrow(new ProtocolError('unsupported-key'))
    },
  )
})

const documents = globSync(['*.md', 'docs/**/*.md', 'test/**/*.md', 'deploy/**/*.md', 'examples/**/*.md'], {
  cwd: ROOT,
  exclude: (path) => path.includes('node_modules'),
})

/** Makes anchors of headings as GitHub does. */
function anchorsOf(markdown: string): string[] {
  const headings = markdown.replaceAll(/^```.*?^```$/gms, '').matchAll(/^#{1,6} (.+)$/gm)
  return [...headings].map(([, text]) =>
    text!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe('the documents', () => {
  it('all exist', () => {
    const expected = [
      'README',
      'SECURITY',
      'CONTRIBUTING',
      'CHANGELOG',
      'docs/protocol',
      'docs/threat-model',
      'docs/architecture',
      'docs/operations',
      'docs/clients',
    ]
    expect(documents).toEqual(expect.arrayContaining(expected.map((name) => `${name}.md`)))
  })

  it.each(documents)('%s has only links that resolve', (path) => {
    const markdown = read(path).replaceAll(/^```.*?^```$/gms, '')
    const dead = [...markdown.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => link!)
      .filter((link) => !link.startsWith('https://'))
      .filter((link) => {
        const [file, anchor] = link.split('#') as [string, string?]
        const target = file === '' ? path : join(dirname(path), file)
        return !existsSync(join(ROOT, target)) || (anchor !== undefined && !anchorsOf(read(target)).includes(anchor))
      })
    expect(dead).toEqual([])
  })

  it.each(documents)('%s names only existing files', (path) => {
    const named = [...read(path).matchAll(/`((?:src|test|docs|deploy|bench)\/[\w./*-]*|[\w-]+\.(?:md|json|example))`/g)].map(
      ([, file]) => file!,
    )
    const here = (file: string): boolean =>
      [ROOT, join(ROOT, dirname(path))].some((base) =>
        file.includes('*') ? globSync(file, { cwd: base }).length > 0 : existsSync(join(base, file)),
      )
    expect(named.filter((file) => !here(file))).toEqual([])
  })

  it.each(documents)('%s quotes only existing test names', (path) => {
    // `test/file.test.ts`, "name", or `test/file.test.ts` ("name")
    const quoted = [...read(path).matchAll(/`(test\/[\w/-]+\.test\.ts)`,?\s+\(?"([^"]+)"/g)]
    const wrong = quoted.filter(([, file, name]) => !existsSync(join(ROOT, file!)) || !read(file!).includes(name!.replaceAll(/\s+/g, ' ')))
    expect(wrong.map(([, file, name]) => `${file}: ${name}`)).toEqual([])
  })

  it.each(documents)("%s names no path of the author's machine", (path) => {
    const text = read(path).replaceAll(/^```session.*?^```$/gms, '')
    // Paths of the system itself exist on the reader's machine, too.
    const paths = [...text.matchAll(/(?<![\w./~$})>…+-])\/([a-z][\w.-]*)\/[\w.-]/g)].map(([, first]) => first!)
    expect(paths.filter((first) => !['dev', 'etc', 'opt', 'path', 'proc', 'run', 'srv', 'sys', 'usr', 'var'].includes(first))).toEqual([])
  })

  it('have the version of the package', () => {
    const [, version] = /^## \[([^\]]+)\] - (?:unreleased|\d{4}-\d\d-\d\d)$/m.exec(read('CHANGELOG.md')) ?? []
    expect(version).toBe(PACKAGE_VERSION)
  })
})

describe('the programs of docs/clients.md', () => {
  const programs = [...read('docs/clients.md').matchAll(/^```ts\n(.*?)^```$/gms)].map(([, program]) => program!)

  it('two messengers exchange messages', { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'asf-docs-'))
    const { port, close } = await startRelay()
    try {
      for (const name of ['alice', 'bob', 'bob.pub', 'alice.pub']) copyFileSync(join(VECTORS, name), join(folder, name))
      const here = programs[0]!
        .replace("'asfaleia'", JSON.stringify(pathToFileURL(join(ROOT, 'src/client/index.ts')).href))
        .replaceAll("'localhost'", `'localhost:${port}'`)
      writeFileSync(join(folder, 'alice.ts'), here)
      const there = here.replace("'alice'", "'bob'").replace("'bob.pub'", "'alice.pub'").replaceAll('Bob', 'Alice')
      writeFileSync(join(folder, 'bob.ts'), there)
      const said = await Promise.all([runNode(folder, 'alice.ts'), runNode(folder, 'bob.ts')])
      expect(said).toEqual(['Bob: Hello Alice.\ndelivered\n', 'Alice: Hello Bob.\ndelivered\n'])
    } finally {
      await close()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('the client program sends and gets messages', async () => {
    const program = programs.find((each) => each.includes('connectRelay'))
    const folder = mkdtempSync(join(tmpdir(), 'asf-docs-'))
    const { relay, port, close } = await startRelay()
    try {
      for (const name of ['alice', 'bob', 'bob.pub', 'alice.pub']) copyFileSync(join(VECTORS, name), join(folder, name))
      const here = program!
        .replace("'asfaleia'", JSON.stringify(pathToFileURL(join(ROOT, 'src/client/index.ts')).href))
        .replace("'localhost'", `'localhost:${port}'`)
      writeFileSync(join(folder, 'alice.ts'), here)
      writeFileSync(
        join(folder, 'bob.ts'),
        here.replace("'alice'", "'bob'").replace("'bob.pub'", "'alice.pub'").replace('Hello Bob', 'Hello Alice'),
      )
      expect(await runNode(folder, 'alice.ts')).toBe('')
      expect(await runNode(folder, 'bob.ts')).toBe('Hello Bob.')
      expect(await runNode(folder, 'alice.ts')).toBe('Hello Alice.')
      expect(relay.snapshot()).toMatchObject({ messages: 1, counters: { erased: { acked: 2 } } })
    } finally {
      await close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

function runNode(cwd: string, script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [script], { cwd }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(stderr))
    })
  })
}
