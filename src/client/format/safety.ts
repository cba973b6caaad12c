/**
 * Two ways for people to verify each other's keys (docs/protocol.md, section 11): twelve safety words for a pair of
 * keys, and OpenSSH's randomart of one key. Pure; runs in a browser too.
 */
import type { KeyMaterial } from '../../auth/key-material.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { encodeText, fingerprintOf } from './field.ts'

const LABEL = 'asfaleia-safety/1'
const WORDS = 12
/** Bits of a word from a list of 2,048. */
const WORD_BITS = 11
/**
 * An attacker between two people must find two keys that give both of them the same words. With 132 bits, that takes
 * about 2^66 tries. Each try costs this many HMACs (2^18), so the attack costs 2^84 of them.
 */
const ITERATIONS = 262_144

/**
 * Returns twelve words of BIP-39's English list, the same for (a, b) and (b, a). The construction is that of Signal's
 * safety numbers: a versioned, iterated hash of both keys, sorted. The hash is PBKDF2 (RFC 8018) with HMAC-SHA-512 over
 * the line `asfaleia-safety/1` and a line with each fingerprint; the salt is `asfaleia-safety/1`. Takes some tenths of
 * a second.
 */
export async function safetyWords(a: SshKey, b: SshKey): Promise<string[]> {
  const text = `${LABEL}\n${[fingerprintOf(a), fingerprintOf(b)].toSorted().join('\n')}\n`
  const { wordlist } = await import('@scure/bip39/wordlists/english.js')
  const secret = await crypto.subtle.importKey('raw', Uint8Array.from(encodeText(text)), 'PBKDF2', false, ['deriveBits'])
  const salt = Uint8Array.from(encodeText(LABEL))
  const bits = new Uint8Array(
    await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-512', salt, iterations: ITERATIONS }, secret, 136),
  )
  const digits = Array.from(bits, (byte) => byte.toString(2).padStart(8, '0')).join('')
  return Array.from({ length: WORDS }, (_, n) => wordlist[Number.parseInt(digits.slice(n * WORD_BITS, (n + 1) * WORD_BITS), 2)]!)
}

const WIDTH = 17
const HEIGHT = 9
/** Characters by the number of visits to a field; the last two mark the start and the end. */
const MARKS = ' .o+=*BOX@%&#/^SE'

/** Draws the lines of `ssh-keygen -lv` under a fingerprint: OpenSSH's fingerprint_randomart, "the drunken bishop". */
export function randomart(key: SshKey): string[] {
  const visits = Array.from({ length: HEIGHT }, () => new Uint8Array(WIDTH))
  const most = MARKS.length - 3
  let [x, y] = [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]
  for (const byte of key.fingerprint) {
    for (let pair = 0; pair < 4; pair++) {
      const step = byte >> (2 * pair)
      x = Math.min(Math.max(x + ((step & 1) === 1 ? 1 : -1), 0), WIDTH - 1)
      y = Math.min(Math.max(y + ((step & 2) === 2 ? 1 : -1), 0), HEIGHT - 1)
      const row = visits[y]!
      row[x] = Math.min(row[x]! + 1, most)
    }
  }
  visits[(HEIGHT - 1) / 2]![(WIDTH - 1) / 2] = MARKS.length - 2
  visits[y]![x] = MARKS.length - 1
  const rows = visits.map((row) => `|${Array.from(row, (count) => MARKS[count]).join('')}|`)
  return [frame(titleOf(key)), ...rows, frame('[SHA256]')]
}

function frame(title: string): string {
  const before = Math.floor((WIDTH - title.length) / 2)
  return `+${'-'.repeat(before)}${title}${'-'.repeat(WIDTH - title.length - before)}+`
}

function titleOf({ material }: SshKey): string {
  const [name, bits] = measure(material)
  return `[${name}${material.kind !== 'rsa' && material.application !== undefined ? '-SK' : ''} ${bits}]`
}

function measure(material: KeyMaterial): [name: string, bits: number] {
  switch (material.kind) {
    case 'ed25519':
      return ['ED25519', 256]
    case 'rsa':
      return ['RSA', 8 * material.modulus.length - Math.clz32(material.modulus[0]!) + 24]
    case 'ecdsa':
      return ['ECDSA', Number(material.curve.slice('nistp'.length))]
  }
}
