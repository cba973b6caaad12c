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

test.each(vectors.files)("age's file to $name", async ({ privateKey, line: publicLine, file }) => {
  const key = parsePrivateKey(Buffer.from(privateKey))
  expect(key.public.fingerprint).toEqual(parsePublicKey(publicLine).fingerprint)
  expect(await decrypter(key).decrypt(Buffer.from(file, 'base64'), 'text')).toBe(vectors.text)
})

describe.each(ALL)('%s', (_name, key) => {
  test('what encryptToKey writes, age-encryption reads', async () => {
    for (const plaintext of [Buffer.alloc(0), line, Buffer.alloc(65_536, 7)]) {
      const file = await encryptToKey(plaintext, key.public)
      expect(Buffer.compare(await decrypter(key).decrypt(file), plaintext)).toBe(0)
    }
  })

  test('no two files are alike, but for the first line and the tag', async () => {
    const [one, two] = [await encryptToKey(line, key.public), await encryptToKey(line, key.public)]
    const parts = (file: Uint8Array): string[] => Buffer.from(file).toString('latin1').split(/[ \n]/)
    expect(parts(one).slice(0, 4)).toEqual(parts(two).slice(0, 4))
    expect(Buffer.from(one).subarray(60).equals(Buffer.from(two).subarray(60))).toBe(false)
  })

  test('more than one chunk is refused by encryptToKey, and goes by SshRecipient', async () => {
    const plaintext = Buffer.alloc(65_537, 9)
    await expect(encryptToKey(plaintext, key.public)).rejects.toThrow(RangeError)
    const file = await encrypter(key.public).encrypt(plaintext)
    expect(Buffer.compare(await decrypter(key).decrypt(file), plaintext)).toBe(0)
  })

  test('another key does not open it', async () => {
    const file = await encryptToKey(line, key.public)
    await expect(decrypter(stranger).decrypt(file)).rejects.toThrow(NO_IDENTITY)
  })

  test('no byte of a file may differ', async () => {
    const file = await encryptToKey(line, key.public)
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const other = Buffer.from(file)
        other[at]! ^= change
        await expect(decrypter(key).decrypt(other)).rejects.toThrow(Error)
      }),
    )
  })

  test('no file may be cut', async () => {
    const file = await encryptToKey(line, key.public)
    for (let length = 0; length < file.length; length += 7) {
      await expect(decrypter(key).decrypt(file.subarray(0, length))).rejects.toThrow(Error)
    }
  })
})

test('a file for several people opens for each of them, and for nobody else', async () => {
  const file = await encrypter(...ALL.map(([, key]) => key.public)).encrypt(line)
  for (const [, key] of ALL) expect(await decrypter(key).decrypt(file, 'text')).toBe(vectors.text)
  await expect(decrypter(stranger).decrypt(file)).rejects.toThrow(NO_IDENTITY)
})

test('keys that cannot decrypt are refused, as recipients and as identities', async () => {
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
  const unwrap = (key: SshPrivateKey, ...stanzas: Stanza[]): Buffer | null => {
    const opened = new SshIdentity(key).unwrapFileKey(stanzas)
    return opened === null ? null : Buffer.from(opened)
  }

  test('of unknown types, other keys and other methods are passed over', async () => {
    const others = [new Stanza(['X25519', share], ours.body), new Stanza(['joke'], Buffer.alloc(0)), await stanzaOf(stranger)]
    expect(unwrap(keys.ed25519256, ...others, rsa)).toBeNull()
    expect(unwrap(keys.rsa2048, ...others, ours)).toBeNull()
    expect(unwrap(keys.ed25519256, ...others, rsa, ours)).toEqual(fileKey)
    expect(unwrap(keys.rsa2048, ...others, ours, rsa)).toEqual(fileKey)
    expect(unwrap(keys.rsa2048)).toBeNull()
    // Of another tag: not ours to judge, whatever its body.
    const empty = new Stanza(['ssh-ed25519', 'AAAAAA', share], Buffer.alloc(0))
    expect(unwrap(keys.ed25519256, empty, ours)).toEqual(fileKey)
  })

  test('with a file key of another length yield none', async () => {
    const wrong = async (key: SshPrivateKey, length: number): Promise<Stanza> =>
      (await new SshRecipient(key.public).wrapFileKey(Buffer.alloc(length)))[0]!
    for (const length of [0, 15, 17, 32]) {
      const [rsa, ed25519] = [await wrong(keys.rsa2048, length), await wrong(keys.ed25519256, length)]
      expect(unwrap(keys.rsa2048, rsa)).toBeNull()
      expect(() => unwrap(keys.ed25519256, ed25519)).toThrow('malformed ssh-ed25519 stanza')
    }
  })

  test("of somebody with our tag do not hide our own: a tag's 32 bits can meet", async () => {
    const theirs = await stanzaOf(stranger)
    const met = new Stanza(['ssh-ed25519', tag, theirs.args[2]!], theirs.body)
    expect(unwrap(keys.ed25519256, met)).toBeNull()
    expect(unwrap(keys.ed25519256, met, ours)).toEqual(fileKey)
    const metRsa = new Stanza(rsa.args, Buffer.alloc(256, 1))
    expect(unwrap(keys.rsa2048, metRsa)).toBeNull()
    expect(unwrap(keys.rsa2048, metRsa, rsa)).toEqual(fileKey)
  })

  const zero = Buffer.alloc(32)
  const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replace(/=+$/, '')

  test.each<[string, string[], Uint8Array?]>([
    ['without a share', ['ssh-ed25519', tag]],
    ['with one argument more', ['ssh-ed25519', tag, share, 'x']],
    ['with a share of 31 bytes', ['ssh-ed25519', tag, b64(zero.subarray(1))]],
    ['with a share of 33 bytes', ['ssh-ed25519', tag, b64(Buffer.alloc(33))]],
    ['with a padded share', ['ssh-ed25519', tag, `${share}=`]],
    ['with stray bits in the share', ['ssh-ed25519', tag, share.slice(0, -1) + next(share.at(-1)!)]],
    ['with a padded tag', ['ssh-ed25519', `${tag}==`, share]],
    ['with a short tag', ['ssh-ed25519', tag.slice(0, 4), share]],
    ['with a short body', ['ssh-ed25519', tag, share], ours.body.subarray(1)],
    ['with a long body', ['ssh-ed25519', tag, share], Buffer.concat([ours.body, Buffer.of(0)])],
    ['without a body', ['ssh-ed25519', tag, share], Buffer.alloc(0)],
    ['of small order: zero', ['ssh-ed25519', tag, b64(zero)]],
    ['of small order: one', ['ssh-ed25519', tag, b64(Buffer.concat([Buffer.of(1), zero.subarray(1)]))]],
    // RFC 7748's curve25519: a point of order 8.
    ['of small order: 8', ['ssh-ed25519', tag, b64(Buffer.from(ORDER_8, 'hex'))]],
  ])('of ours %s are an error', (_name, args, body = ours.body) => {
    expect(() => unwrap(keys.ed25519256, new Stanza(args, body))).toThrow('malformed ssh-ed25519 stanza')
  })

  test.each([[['ssh-rsa']], [['ssh-rsa', rsa.args[1]!, 'x']], [['ssh-rsa', `${rsa.args[1]}==`]], [['ssh-rsa', '']]])(
    'of ours with the arguments %j are an error',
    (args) => {
      expect(() => unwrap(keys.rsa2048, new Stanza(args, rsa.body))).toThrow('malformed ssh-rsa stanza')
    },
  )

  test('in which anything was changed yield no key', () => {
    for (const [key, stanza] of [
      [keys.ed25519256, ours],
      [keys.rsa2048, rsa],
    ] as const) {
      const body = Buffer.from(stanza.body)
      body[3]! ^= 1
      expect(unwrap(key, new Stanza(stanza.args, body))).toBeNull()
    }
  })

  test('of RSA whose body is a multiple of 48 bytes end in an empty line', async () => {
    const header = Buffer.from(await encryptToKey(line, keys.rsa6144.public))
      .toString('latin1')
      .split('\n')
    expect(header.slice(2, 18).map((text) => text.length)).toEqual(Array(16).fill(64))
    expect(header[18]).toBe('')
    expect(header[19]).toMatch(/^--- [A-Za-z0-9+/]{43}$/)
  })
})

describe('beside age', () => {
  beforeEach(needs('age', 'ssh-keygen'))

  // RSA-6144 is where the stanza's body ends in an empty line; new keys of that size take seconds.
  test.each(vectors.files)('$name, both ways, certificates too', async ({ privateKey, line: publicLine }) => {
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
  })
})
