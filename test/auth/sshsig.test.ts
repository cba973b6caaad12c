import { generateKeyPairSync, hash, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { type FilePrivateKey, parsePrivateKey, type SshPrivateKey } from '../../src/auth/private-key.ts'
import { parsePublicKey, type SshKey } from '../../src/auth/ssh-key.ts'
import { AUTH_NAMESPACE, encodeEd25519Signature, encodeSigned, signMessage, verifySignature } from '../../src/auth/sshsig.ts'
import {
  buildBlob,
  buildCertificate,
  certify,
  dearmor,
  keygenVerifies,
  makeFidoKey,
  makeFolder,
  makeKey,
  needs,
  run,
  toLine,
  type Field,
} from './openssh.ts'

interface Vectors {
  readonly namespace: string
  readonly message: string
  readonly good: readonly { name: string; line: string; signature: string }[]
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/sshsig.json', import.meta.url), 'utf8')) as Vectors
const message = Buffer.from(vectors.message)
const namespace = AUTH_NAMESPACE
const MAGIC = Buffer.from('SSHSIG')

const verify = (blob: Uint8Array, key: SshKey, change: { namespace?: string; message?: Uint8Array; mustVerify?: boolean } = {}) =>
  verifySignature({ blob, key, namespace, message, ...change })

function pemKey(...args: ['rsa', number] | ['ec', string] | ['ed25519']): FilePrivateKey {
  const { privateKey } =
    args[0] === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: args[1] })
      : args[0] === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: args[1] })
        : generateKeyPairSync('ed25519')
  return parsePrivateKey(Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' })))
}

const ed25519 = pemKey('ed25519')
const rsa = pemKey('rsa', 2048)
const p256 = pemKey('ec', 'P-256')
const p384 = pemKey('ec', 'P-384')
const p521 = pemKey('ec', 'P-521')
const ALL = { ed25519, rsa, p256, p384, p521 }
const stranger = pemKey('ed25519')

/** Splits an SSHSIG into its parts, so that tests can reassemble it with changes. */
function readParts(blob: Uint8Array): Buffer[] {
  const bytes = Buffer.from(blob)
  const parts: Buffer[] = []
  for (let at = MAGIC.length + 4; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt32BE(at)
    parts.push(bytes.subarray(at + 4, end))
    at = end
  }
  return parts
}

const NAMES = ['key', 'namespace', 'reserved', 'hash', 'signature'] as const

function rebuild(blob: Uint8Array, change: Partial<Record<(typeof NAMES)[number], Field>>, version = 1): Buffer {
  const parts = readParts(blob)
  return Buffer.concat([MAGIC, buildBlob(version, ...NAMES.map((name, at) => change[name] ?? parts[at]!))])
}

describe('the test vectors', () => {
  test.each(vectors.good)('$name verifies, but not for another message, namespace or key', async ({ line, signature }) => {
    const blob = Buffer.from(signature, 'base64')
    const key = parsePublicKey(line)
    expect(vectors.namespace).toBe(AUTH_NAMESPACE)
    expect(await verify(blob, key)).toBe(true)
    expect(await verify(blob, key, { message: Buffer.concat([message, Buffer.from('\n')]) })).toBe(false)
    expect(await verify(blob, key, { namespace: 'file' })).toBe(false)
    expect(await verify(blob, stranger.public)).toBe(false)
  })

  test('do not verify after any bit changes', async () => {
    // r, s and RSA numbers have other encodings of the same value; all of them must be refused.
    for (const { line, signature } of vectors.good) {
      const blob = Buffer.from(signature, 'base64')
      const key = parsePublicKey(line)
      await fc.assert(
        fc.asyncProperty(fc.nat(blob.length - 1), fc.nat(7), async (at, bit) => {
          const other = Buffer.from(blob)
          other[at]! ^= 1 << bit
          expect(await verify(other, key)).toBe(false)
        }),
      )
    }
  })

  test('do not verify if truncated or followed by a byte', async () => {
    const { line, signature } = vectors.good[0]!
    const blob = Buffer.from(signature, 'base64')
    const key = parsePublicKey(line)
    for (let length = 0; length < blob.length; length++) expect(await verify(blob.subarray(0, length), key)).toBe(false)
    expect(await verify(Buffer.concat([blob, Buffer.of(0)]), key)).toBe(false)
  })
})

describe.each(Object.entries(ALL))('a signature by %s', (_name, key) => {
  const blob = signMessage(key, namespace, message)

  test('verifies only for its key, message and namespace', async () => {
    expect(await verify(blob, key.public)).toBe(true)
    expect(await verify(blob, key.public, { namespace: 'asfaleia' })).toBe(false)
    expect(await verify(blob, key.public, { namespace: '' })).toBe(false)
    expect(await verify(blob, key.public, { message: Buffer.alloc(0) })).toBe(false)
    for (const other of Object.values(ALL)) expect(await verify(blob, other.public)).toBe(other === key)
  })

  test('is refused if another key is put into its blob', async () => {
    expect(await verify(rebuild(blob, { key: stranger.public.blob }), key.public)).toBe(false)
    expect(await verify(rebuild(blob, { key: stranger.public.blob }), stranger.public)).toBe(false)
  })

  test('is refused in any other form', async () => {
    expect(await verify(rebuild(blob, {}), key.public)).toBe(true)
    expect(await verify(rebuild(blob, {}, 2), key.public)).toBe(false)
    expect(await verify(rebuild(blob, {}, 0), key.public)).toBe(false)
    expect(await verify(rebuild(blob, { reserved: 'x' }), key.public)).toBe(false)
    expect(await verify(rebuild(blob, { namespace: '' }), key.public)).toBe(false)
    expect(await verify(rebuild(blob, { hash: 'sha256' }), key.public)).toBe(false)
    for (const hash of ['sha1', 'sha384', 'SHA512', '', 'md5']) {
      expect(await verify(rebuild(blob, { hash }), key.public)).toBe(false)
    }
    const signature = readParts(blob)[4]!
    expect(await verify(rebuild(blob, { signature: Buffer.concat([signature, Buffer.of(0)]) }), key.public)).toBe(false)
    expect(await verify(rebuild(blob, { signature: Buffer.concat([signature, Buffer.alloc(5, 1)]) }), key.public)).toBe(false)
    expect(await verify(Buffer.concat([Buffer.from('SSHSIH'), rebuild(blob, {}).subarray(6)]), key.public)).toBe(false)
  })

  test('is refused under another algorithm name', async () => {
    const body = readStrings(readParts(blob)[4]!)[1]!
    const names = ['ssh-rsa', 'rsa-sha2-256', 'ssh-ed25519', 'ecdsa-sha2-nistp256', 'sk-ssh-ed25519@openssh.com', 'ssh-dss', '']
    for (const name of names.filter((name) => name !== key.public.type || name === 'ssh-rsa')) {
      expect(await verify(rebuild(blob, { signature: buildBlob(name, body) }), key.public)).toBe(false)
    }
  })
})

function readStrings(bytes: Buffer): Buffer[] {
  return readParts(Buffer.concat([Buffer.alloc(MAGIC.length + 4), bytes]))
}

test('RSA signatures verify by SHA-256 and SHA-512, but not by SHA-1 or with another length', async () => {
  const blob = signMessage(rsa, namespace, message)
  const signed = Buffer.concat([MAGIC, buildBlob(namespace, '', 'sha512', hash('sha512', message, 'buffer'))])
  const of = (name: string, hash: string, tail = Buffer.alloc(0)): Promise<boolean> => {
    const body = Buffer.concat([sign(hash, signed, rsa.keyObject), tail])
    return verify(rebuild(blob, { signature: buildBlob(name, body) }), rsa.public)
  }
  expect(await of('rsa-sha2-256', 'sha256')).toBe(true)
  expect(await of('rsa-sha2-512', 'sha512')).toBe(true)
  expect(await of('rsa-sha2-512', 'sha512', Buffer.of(0))).toBe(false)
  expect(await of('rsa-sha2-256', 'sha512')).toBe(false)
  expect(await of('ssh-rsa', 'sha1')).toBe(false)
  expect(await of('rsa-sha2-512', 'sha1')).toBe(false)
})

test('an ECDSA signature verifies only with canonical numbers in range', async () => {
  const blob = signMessage(p256, namespace, message)
  const [name, body] = readStrings(readParts(blob)[4]!)
  const [r, s] = readStrings(body!)
  const of = (...fields: Field[]): Promise<boolean> =>
    verify(rebuild(blob, { signature: buildBlob(name!, buildBlob(...fields)) }), p256.public)
  expect(await of(r!, s!)).toBe(true)
  expect(await of(Buffer.concat([Buffer.of(0), r!]), s!)).toBe(false)
  expect(await of(r!, s!, '')).toBe(false)
  expect(await of(r!)).toBe(false)
  expect(await of(r!, 0n)).toBe(false)
  expect(await of(0n, 0n)).toBe(false)
  expect(await of(r!, 1n << 256n)).toBe(false)
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  expect(await of(r!, BigInt(`0x${s!.toString('hex')}`) + order)).toBe(false)
})

test('an ed25519 signature with s plus the order is refused', async () => {
  const blob = signMessage(ed25519, namespace, message)
  const [name, body] = readStrings(readParts(blob)[4]!)
  const order = (1n << 252n) + 27742317777372353535851937790883648493n
  const s = BigInt(`0x${Buffer.from(body!.subarray(32).toReversed()).toString('hex')}`)
  const other = Buffer.from((s + order).toString(16).padStart(64, '0'), 'hex').toReversed()
  const forged = Buffer.concat([body!.subarray(0, 32), other])
  expect(await verify(rebuild(blob, { signature: buildBlob(name!, body!) }), ed25519.public)).toBe(true)
  expect(await verify(rebuild(blob, { signature: buildBlob(name!, forged) }), ed25519.public)).toBe(false)
})

test('a small-order point in the blob, for which anyone can forge a signature, is refused', async () => {
  const one = Buffer.concat([Buffer.of(1), Buffer.alloc(31)])
  const forged = Buffer.concat([MAGIC, buildBlob(1, buildBlob('ssh-ed25519', one), namespace, '', 'sha512')])
  const signature = buildBlob(buildBlob('ssh-ed25519', Buffer.concat([one, Buffer.alloc(32)])))
  expect(await verify(Buffer.concat([forged, signature]), ed25519.public)).toBe(false)
})

test('a signature may carry a user certificate of its key, but no host certificate and no certificate of another key', async () => {
  const blob = signMessage(ed25519, namespace, message)
  const point = (key: SshPrivateKey): Uint8Array => readStrings(Buffer.from(key.public.blob))[1]!
  const of = (key: SshPrivateKey, role?: number): Promise<boolean> => {
    const type = 'ssh-ed25519-cert-v01@openssh.com'
    const certificate = buildCertificate(type, [point(key)], role === undefined ? {} : { role })
    return verify(rebuild(blob, { key: certificate }), ed25519.public)
  }
  expect(await of(ed25519)).toBe(true)
  expect(await of(ed25519, 2)).toBe(false)
  expect(await of(stranger)).toBe(false)
})

describe.each(['ed25519', 'nistp256'] as const)('a FIDO key of %s', (curve) => {
  const fido = makeFidoKey(curve, 'ssh:asfaleia')
  const key = parsePublicKey(fido.line)

  test('verifies if its user was present', async () => {
    expect(await verify(fido.sign(namespace, message), key)).toBe(true)
    expect(await verify(fido.sign(namespace, message, 1 | 4), key)).toBe(true)
    expect(await verify(fido.sign(namespace, message), makeFidoKeyOf(curve))).toBe(false)
  })

  test('is refused if the user did not touch it', async () => {
    for (const flags of [0, 4, 0x80]) expect(await verify(fido.sign(namespace, message, flags), key)).toBe(false)
  })

  test('is refused if it must verify its user and only saw that the user was present', async () => {
    for (const flags of [0, 1, 4]) expect(await verify(fido.sign(namespace, message, flags), key, { mustVerify: true })).toBe(false)
    expect(await verify(fido.sign(namespace, message, 1 | 4), key, { mustVerify: true })).toBe(true)
  })

  test('is refused if the flags or the counter are changed, missing or too long', async () => {
    const blob = fido.sign(namespace, message)
    const signature = readParts(blob)[4]!
    const of = (bytes: Uint8Array): Promise<boolean> => verify(rebuild(blob, { signature: bytes }), key)
    const state = signature.length - 5
    expect(await of(signature)).toBe(true)
    expect(await of(signature.subarray(0, state))).toBe(false)
    expect(await of(signature.subarray(0, -1))).toBe(false)
    expect(await of(Buffer.concat([signature, Buffer.of(0)]))).toBe(false)
    const flags = Buffer.from(signature)
    flags[state]! |= 4
    expect(await of(flags)).toBe(false)
    const counter = Buffer.from(signature)
    counter[state + 4]! ^= 1
    expect(await of(counter)).toBe(false)
  })

  test('is a different key under another application', async () => {
    const [type, ...rest] = readStrings(fido.blob)
    const other = buildBlob(type!, ...rest.slice(0, -1), 'ssh:')
    const otherKey = parsePublicKey(toLine(other))
    const blob = fido.sign(namespace, message)
    expect(await verify(rebuild(blob, { key: other }), otherKey)).toBe(false)
    expect(await verify(rebuild(blob, { key: other }), key)).toBe(false)
  })

  test('ssh-keygen and verifySignature agree on its signature', async (ctx) => {
    needs('ssh-keygen')(ctx)
    const input = { line: fido.line, blob: fido.sign(namespace, message), namespace, message }
    const folder = makeFolder()
    expect(keygenVerifies(folder, input)).toBe(true)
    expect(keygenVerifies(folder, { ...input, message: Buffer.from('other') })).toBe(false)
  })
})

const makeFidoKeyOf = (curve: 'ed25519' | 'nistp256'): SshKey => parsePublicKey(makeFidoKey(curve).line)

test('signMessage refuses an empty namespace', () => {
  expect(() => signMessage(ed25519, '', message)).toThrow(TypeError)
})

test('a signature that its key made for an empty namespace is refused, also if the caller expects that namespace', async () => {
  const blob = (name: string): Uint8Array =>
    encodeEd25519Signature(ed25519.public, name, ed25519.sign(encodeSigned(name, 'sha512', message)))
  expect(await verify(blob('file'), ed25519.public, { namespace: 'file' })).toBe(true)
  expect(await verify(blob(''), ed25519.public, { namespace: '' })).toBe(false)
})

test('verifySignature returns false for any junk and never throws', async () => {
  const good = vectors.good.map(({ signature }) => Buffer.from(signature, 'base64'))
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array(),
        fc.uint8Array().map((tail) => Buffer.concat([MAGIC, Buffer.of(0, 0, 0, 1), tail])),
        fc
          .tuple(fc.constantFrom(...good), fc.nat(), fc.uint8Array({ minLength: 1 }))
          .map(([blob, at, tail]) => Buffer.concat([blob.subarray(0, at % blob.length), tail])),
      ),
      async (blob) => {
        expect(await verify(blob, stranger.public)).toBe(false)
      },
    ),
  )
})

describe('interoperation with ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  test.each([
    ['ed25519', '256'],
    ['rsa', '2048'],
    ['rsa', '3072'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
  ])("ssh-keygen and we verify each other's signatures by %s keys of %s bits", async (type, bits) => {
    const folder = makeFolder()
    const files = makeKey(folder, 'key', ['-t', type, '-b', bits])
    const key = parsePrivateKey(files.file)
    for (const hash of ['sha256', 'sha512']) {
      const args = ['-Y', 'sign', '-q', '-n', namespace, '-O', `hashalg=${hash}`, '-f', files.path]
      const theirs = dearmor(run('ssh-keygen', args, message).toString())
      expect(await verify(theirs, key.public)).toBe(true)
      expect(await verify(theirs, stranger.public)).toBe(false)
    }
    const ours = { line: files.line, blob: signMessage(key, namespace, message), namespace, message }
    expect(keygenVerifies(folder, ours)).toBe(true)
    expect(keygenVerifies(folder, { ...ours, namespace: 'file' })).toBe(false)
  })

  test("ssh-keygen and we accept a signature that carries the key's certificate", async () => {
    const folder = makeFolder()
    const authority = makeKey(folder, 'authority', ['-t', 'ed25519'])
    const files = makeKey(folder, 'key', ['-t', 'ed25519'])
    const key = parsePrivateKey(files.file)
    const certificate = Buffer.from(certify(authority, files).split(' ')[1]!, 'base64')
    const blob = rebuild(signMessage(key, namespace, message), { key: certificate })
    expect(await verify(blob, key.public)).toBe(true)
    const line = `cert-authority ${authority.line}`
    expect(keygenVerifies(folder, { line, blob, namespace, message })).toBe(true)
  })
})
