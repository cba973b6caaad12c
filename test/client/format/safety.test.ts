/** Safety words and randomart, which two people compare. */
import { pbkdf2Sync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { beforeEach, describe, expect, it } from 'vitest'
import { formatFingerprint, parsePublicKey } from '../../../src/auth/ssh-key.ts'
import { randomart, safetyWords } from '../../../src/client/format/safety.ts'
import { makeFidoKey, makeFolder, makeKey, needs, run } from '../../auth/openssh.ts'

const vectors = join(import.meta.dirname, '../../vectors')
const keyOf = (name: string) => parsePublicKey(readFileSync(join(vectors, 'example', `${name}.pub`), 'utf8').trim())

describe('safety words', () => {
  const [alice, bob] = [keyOf('alice'), keyOf('bob')]

  it('are twelve words of the list, equal for both people and different for other keys', async () => {
    const words = await safetyWords(alice, bob)
    expect(words).toHaveLength(12)
    expect(words.every((word) => wordlist.includes(word))).toBe(true)
    expect(await safetyWords(bob, alice)).toEqual(words)
    expect(await safetyWords(alice, alice)).not.toEqual(words)
  })

  it('follow the construction in the protocol', async () => {
    const lines = [alice, bob].map(({ fingerprint }) => formatFingerprint(fingerprint)).toSorted()
    const bits = pbkdf2Sync(`asfaleia-safety/1\n${lines.join('\n')}\n`, 'asfaleia-safety/1', 2 ** 18, 17, 'sha512')
    const number = BigInt(`0x${bits.toString('hex')}`) >> 4n
    const words = Array.from({ length: 12 }, (_, n) => wordlist[Number((number >> BigInt(11 * (11 - n))) & 2_047n)])
    expect(await safetyWords(alice, bob)).toEqual(words)
  })

  it('never change', async () => {
    expect(await safetyWords(alice, bob)).toMatchInlineSnapshot(`
      [
        "jump",
        "fly",
        "situate",
        "fever",
        "jeans",
        "file",
        "pioneer",
        "awful",
        "sunny",
        "street",
        "net",
        "tag",
      ]
    `)
  })
})

describe('randomart', () => {
  beforeEach(needs('ssh-keygen'))

  const KEYS: readonly (readonly string[])[] = [
    ['-t', 'ed25519'],
    ['-t', 'rsa', '-b', '2048'],
    ['-t', 'rsa', '-b', '3071'],
    ['-t', 'rsa', '-b', '4096'],
    ['-t', 'ecdsa', '-b', '256'],
    ['-t', 'ecdsa', '-b', '384'],
    ['-t', 'ecdsa', '-b', '521'],
  ]
  const drawn = (path: string): string[] => run('ssh-keygen', ['-l', '-v', '-f', path]).toString().trimEnd().split('\n').slice(1)

  it.each(KEYS)('matches the drawing of ssh-keygen: %s %s %s %s', (...args) => {
    const { path, line } = makeKey(
      makeFolder(),
      'key',
      args.filter((each) => each !== undefined),
    )
    expect(randomart(parsePublicKey(line))).toEqual(drawn(`${path}.pub`))
  })

  it.each(['ed25519', 'nistp256'] as const)('matches the drawing of ssh-keygen for a FIDO key: %s', (curve) => {
    const path = join(makeFolder(), 'key.pub')
    const { line } = makeFidoKey(curve)
    writeFileSync(path, `${line}\n`)
    expect(randomart(parsePublicKey(line))).toEqual(drawn(path))
  })

  it('matches the drawing of ssh-keygen for many keys', () => {
    const path = join(makeFolder(), 'keys')
    const lines = Array.from({ length: 40 }, () => makeFidoKey('ed25519').line)
    writeFileSync(path, lines.map((line) => `${line}\n`).join(''))
    const all = run('ssh-keygen', ['-l', '-v', '-f', path]).toString().trimEnd().split('\n')
    expect(lines.map((line) => randomart(parsePublicKey(line)))).toEqual(lines.map((_, n) => all.slice(12 * n + 1, 12 * n + 12)))
  })
})
