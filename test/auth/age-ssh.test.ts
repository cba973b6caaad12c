import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Decrypter, Encrypter, Stanza } from 'age-encryption'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { encryptToKey, SshIdentity, SshRecipient } from '../../src/auth/age-ssh.ts'
import { type FilePrivateKey, generatePrivateKey, parsePrivateKey, type SshPrivateKey } from '../../src/auth/private-key.ts'
import { parsePublicKey, type SshKey } from '../../src/auth/ssh-key.ts'
import { certify, makeFidoKey, makeFolder, makeKey, needs, run } from './openssh.ts'

interface Vectors {
  readonly text: string
  readonly files: readonly { name: string; line: string; privateKey: string; file: string }[]
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/age.json', import.meta.url), 'utf8')) as Vectors
const line = Buffer.from(vectors.text)
const keys = Object.fromEntries(vectors.files.map(({ name, privateKey }) => [name, parsePrivateKey(Buffer.from(privateKey))])) as {
  readonly ed25519256: FilePrivateKey
  readonly rsa2048: FilePrivateKey
  readonly rsa6144: FilePrivateKey
}
const ALL = Object.entries(keys)
const stranger = parsePrivateKey(Buffer.from(generatePrivateKey('').file))

function decrypter(key: SshPrivateKey): Decrypter {
  const decrypter = new Decrypter()
  decrypter.addIdentity(new SshIdentity(key))
  return decrypter
}

function encrypter(...to: readonly SshKey[]): Encrypter {
  const encrypter = new Encrypter()
  for (const key of to) encrypter.addRecipient(new SshRecipient(key))
  return encrypter
}

const NO_IDENTITY = 'no identity matched'

test.each(vectors.files)("age's file to $name decrypts with its key", async ({ privateKey, line: publicLine, file }) => {
  const key = parsePrivateKey(Buffer.from(privateKey))
  expect(key.public.fingerprint).toEqual(parsePublicKey(publicLine).fingerprint)
  expect(await decrypter(key).decrypt(Buffer.from(file, 'base64'), 'text')).toBe(vectors.text)
})

describe.each(ALL)('%s', (_name, key) => {
  test('age-encryption decrypts the output of encryptToKey', async () => {
    for (const plaintext of [Buffer.alloc(0), line, Buffer.alloc(65_536, 7)]) {
      const file = await encryptToKey(plaintext, key.public)
      expect(Buffer.compare(await decrypter(key).decrypt(file), plaintext)).toBe(0)
    }
  })

  test('two files of the same text share only the first line and the tag', async () => {
    const [one, two] = [await encryptToKey(line, key.public), await encryptToKey(line, key.public)]
    const parts = (file: Uint8Array): string[] => Buffer.from(file).toString('latin1').split(/[ \n]/)
    expect(parts(one).slice(0, 4)).toEqual(parts(two).slice(0, 4))
    expect(Buffer.from(one).subarray(60).equals(Buffer.from(two).subarray(60))).toBe(false)
  })

  test('encryptToKey refuses more than one chunk, which SshRecipient encrypts', async () => {
    const plaintext = Buffer.alloc(65_537, 9)
    await expect(encryptToKey(plaintext, key.public)).rejects.toThrow(RangeError)
    const file = await encrypter(key.public).encrypt(plaintext)
    expect(Buffer.compare(await decrypter(key).decrypt(file), plaintext)).toBe(0)
  })

  test('another key does not decrypt the file', async () => {
    const file = await encryptToKey(line, key.public)
    await expect(decrypter(stranger).decrypt(file)).rejects.toThrow(NO_IDENTITY)
  })

  test('a file with any byte changed does not decrypt', async () => {
    const file = await encryptToKey(line, key.public)
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const other = Buffer.from(file)
        other[at]! ^= change
        await expect(decrypter(key).decrypt(other)).rejects.toThrow(Error)
      }),
    )
  })

  test('a truncated file does not decrypt', async () => {
    const file = await encryptToKey(line, key.public)
    for (let length = 0; length < file.length; length += 7) {
      await expect(decrypter(key).decrypt(file.subarray(0, length))).rejects.toThrow(Error)
    }
  })
})

test('a file to several keys decrypts with each of them and with no other key', async () => {
  const file = await encrypter(...ALL.map(([, key]) => key.public)).encrypt(line)
  for (const [, key] of ALL) expect(await decrypter(key).decrypt(file, 'text')).toBe(vectors.text)
  await expect(decrypter(stranger).decrypt(file)).rejects.toThrow(NO_IDENTITY)
})

test('keys that cannot decrypt are refused as recipients and as identities', async () => {
  const key = parsePublicKey(makeFidoKey('ed25519').line)
  expect(() => new SshRecipient(key)).toThrow(TypeError)
  expect(() => new SshIdentity({ ...stranger, public: key })).toThrow(TypeError)
  await expect(encryptToKey(line, key)).rejects.toThrow(TypeError)
})

const ORDER_8 = 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'

function next(character: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  return alphabet[alphabet.indexOf(character) + 1]!
}

describe('stanzas', async () => {
  const fileKey = Buffer.alloc(16, 5)
  const stanzaOf = async (key: SshPrivateKey): Promise<Stanza> => (await new SshRecipient(key.public).wrapFileKey(fileKey))[0]!
  const ours = await stanzaOf(keys.ed25519256)
  const rsa = await stanzaOf(keys.rsa2048)
  const [, tag, share] = ours.args as [string, string, string]
  const unwrap = async (key: SshPrivateKey, ...stanzas: Stanza[]): Promise<Buffer | null> => {
    const opened = await new SshIdentity(key).unwrapFileKey(stanzas)
    return opened === null ? null : Buffer.from(opened)
  }

  test('of unknown types, other keys and other methods are skipped', async () => {
    const others = [new Stanza(['X25519', share], ours.body), new Stanza(['joke'], Buffer.alloc(0)), await stanzaOf(stranger)]
    expect(await unwrap(keys.ed25519256, ...others, rsa)).toBeNull()
    expect(await unwrap(keys.rsa2048, ...others, ours)).toBeNull()
    expect(await unwrap(keys.ed25519256, ...others, rsa, ours)).toEqual(fileKey)
    expect(await unwrap(keys.rsa2048, ...others, ours, rsa)).toEqual(fileKey)
    expect(await unwrap(keys.rsa2048)).toBeNull()
    // The tag belongs to another key, so the stanza is skipped whatever its body.
    const empty = new Stanza(['ssh-ed25519', 'AAAAAA', share], Buffer.alloc(0))
    expect(await unwrap(keys.ed25519256, empty, ours)).toEqual(fileKey)
  })

  test('with a file key of another length yield no file key', async () => {
    const wrong = async (key: SshPrivateKey, length: number): Promise<Stanza> =>
      (await new SshRecipient(key.public).wrapFileKey(Buffer.alloc(length)))[0]!
    for (const length of [0, 15, 17, 32]) {
      const [rsa, ed25519] = [await wrong(keys.rsa2048, length), await wrong(keys.ed25519256, length)]
      expect(await unwrap(keys.rsa2048, rsa)).toBeNull()
      await expect(unwrap(keys.ed25519256, ed25519)).rejects.toThrow('malformed ssh-ed25519 stanza')
    }
  })

  test('of another key whose 32-bit tag collides do not hide the right stanza', async () => {
    const theirs = await stanzaOf(stranger)
    const met = new Stanza(['ssh-ed25519', tag, theirs.args[2]!], theirs.body)
    expect(await unwrap(keys.ed25519256, met)).toBeNull()
    expect(await unwrap(keys.ed25519256, met, ours)).toEqual(fileKey)
    const metRsa = new Stanza(rsa.args, Buffer.alloc(256, 1))
    expect(await unwrap(keys.rsa2048, metRsa)).toBeNull()
    expect(await unwrap(keys.rsa2048, metRsa, rsa)).toEqual(fileKey)
  })

  const zero = Buffer.alloc(32)
  const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replace(/=+$/, '')

  test.each<[string, string[], Uint8Array?]>([
    ['has no share', ['ssh-ed25519', tag]],
    ['has one argument more', ['ssh-ed25519', tag, share, 'x']],
    ['has a share of 31 bytes', ['ssh-ed25519', tag, b64(zero.subarray(1))]],
    ['has a share of 33 bytes', ['ssh-ed25519', tag, b64(Buffer.alloc(33))]],
    ['has a padded share', ['ssh-ed25519', tag, `${share}=`]],
    ['has stray bits in the share', ['ssh-ed25519', tag, share.slice(0, -1) + next(share.at(-1)!)]],
    ['has a padded tag', ['ssh-ed25519', `${tag}==`, share]],
    ['has a short tag', ['ssh-ed25519', tag.slice(0, 4), share]],
    ['has a short body', ['ssh-ed25519', tag, share], ours.body.subarray(1)],
    ['has a long body', ['ssh-ed25519', tag, share], Buffer.concat([ours.body, Buffer.of(0)])],
    ['has no body', ['ssh-ed25519', tag, share], Buffer.alloc(0)],
    ['has a share of small order: zero', ['ssh-ed25519', tag, b64(zero)]],
    ['has a share of small order: one', ['ssh-ed25519', tag, b64(Buffer.concat([Buffer.of(1), zero.subarray(1)]))]],
    // A point of order 8 on RFC 7748's curve25519.
    ['has a share of small order: 8', ['ssh-ed25519', tag, b64(Buffer.from(ORDER_8, 'hex'))]],
  ])('of type ssh-ed25519 are refused if one %s', async (_name, args, body = ours.body) => {
    await expect(unwrap(keys.ed25519256, new Stanza(args, body))).rejects.toThrow('malformed ssh-ed25519 stanza')
  })

  test.each([[['ssh-rsa']], [['ssh-rsa', rsa.args[1]!, 'x']], [['ssh-rsa', `${rsa.args[1]}==`]], [['ssh-rsa', '']]])(
    'of type ssh-rsa are refused with the arguments %j',
    async (args) => {
      await expect(unwrap(keys.rsa2048, new Stanza(args, rsa.body))).rejects.toThrow('malformed ssh-rsa stanza')
    },
  )

  test('yield no file key if their body was changed', async () => {
    for (const [key, stanza] of [
      [keys.ed25519256, ours],
      [keys.rsa2048, rsa],
    ] as const) {
      const body = Buffer.from(stanza.body)
      body[3]! ^= 1
      expect(await unwrap(key, new Stanza(stanza.args, body))).toBeNull()
    }
  })

  test('of RSA end in an empty line if their body is a multiple of 48 bytes', async () => {
    const header = Buffer.from(await encryptToKey(line, keys.rsa6144.public))
      .toString('latin1')
      .split('\n')
    expect(header.slice(2, 18).map((text) => text.length)).toEqual(Array(16).fill(64))
    expect(header[18]).toBe('')
    expect(header[19]).toMatch(/^--- [A-Za-z0-9+/]{43}$/)
  })

  /** The key, and how often its private half was used. */
  function countUses(key: FilePrivateKey): { readonly key: SshPrivateKey; uses: number } {
    const counted = { key: { ...key, public: key.public } as SshPrivateKey, uses: 0 }
    const count =
      <Args extends unknown[], Result>(use: (...args: Args) => Result) =>
      (...args: Args): Result => {
        counted.uses++
        return use(...args)
      }
    Object.assign(counted.key, { decrypt: count(key.decrypt ?? (() => zero)), multiply: count(key.multiply ?? (() => zero)) })
    return counted
  }

  // A sender knows the tag: it is part of the public key's hash. 1,163 stanzas took 7.7 s with RSA-2048.
  test.each([
    ['short RSA stanzas', keys.rsa2048, new Stanza(rsa.args, Buffer.of(1)), 0],
    ['RSA stanzas of the right length', keys.rsa2048, new Stanza(rsa.args, Buffer.alloc(256, 1)), 3],
    ['ed25519 stanzas', keys.ed25519256, new Stanza(ours.args, Buffer.alloc(32, 1)), 3],
  ])('of our tag cost few private-key operations: %s', async (_name, key, stanza, most) => {
    const counted = countUses(key)
    expect(await unwrap(counted.key, ...Array.from({ length: 1_163 }, () => stanza))).toBeNull()
    expect(counted.uses).toBe(most)
  })

  test('are tried with a turn of the event loop before each RSA operation', async () => {
    let turns = 0
    const timer = setInterval(() => turns++)
    const counted = countUses(keys.rsa2048)
    const seen: number[] = []
    const decrypt = counted.key.decrypt!
    Object.assign(counted.key, {
      decrypt: (...args: Parameters<typeof decrypt>) => {
        seen.push(turns)
        // Longer than the interval, which is 1 ms at least.
        for (const end = performance.now() + 2; performance.now() < end;);
        return decrypt(...args)
      },
    })
    const forged = new Stanza(rsa.args, Buffer.alloc(256, 1))
    for (let n = 0; n < 16; n++) await unwrap(counted.key, ...Array.from({ length: 45 }, () => forged))
    clearInterval(timer)
    expect(seen).toHaveLength(48)
    expect(new Set(seen).size).toBe(48)
  })
})

describe('interoperation with age', () => {
  beforeEach(needs('age', 'ssh-keygen'))

  // The stanza body of RSA-6144 ends in an empty line; generating keys of that size takes seconds.
  test.each(vectors.files)(
    "age and we decrypt each other's files to $name and to its certificate",
    async ({ privateKey, line: publicLine }) => {
      const folder = makeFolder()
      const files = { path: join(folder, 'key'), file: Buffer.from(privateKey), line: publicLine }
      writeFileSync(files.path, files.file, { mode: 0o600 })
      writeFileSync(`${files.path}.pub`, publicLine)
      const key = parsePrivateKey(files.file)
      const certificate = parsePublicKey(certify(makeKey(folder, 'authority', ['-t', 'ed25519']), files))

      for (const file of [
        await encryptToKey(line, parsePublicKey(files.line)),
        await encryptToKey(line, certificate),
        await encrypter(stranger.public, key.public).encrypt(line),
      ]) {
        const path = join(folder, 'file.age')
        writeFileSync(path, file)
        expect(run('age', ['-d', '-i', files.path, path]).toString()).toBe(vectors.text)
      }
      const large = Buffer.alloc(200_000, 'large')
      const theirs = run('age', ['-R', `${files.path}.pub`], large)
      expect(Buffer.compare(await decrypter(key).decrypt(theirs), large)).toBe(0)
    },
  )
})
