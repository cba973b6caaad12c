/** Compares the two implementations of the primitives: they export the same names and compute the same bytes. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as node from '../../src/auth/crypto.ts'
import * as web from '../../src/auth/crypto.web.ts'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { generateSeedKey } from '../../src/auth/seed.ts'

// This line does not compile if their types differ.
const FORMS: readonly (typeof node)[] = [node, web]

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Returns both implementations' results as text; any error becomes `error`. */
function both(work: (form: typeof node) => Uint8Array | boolean | null): string[] {
  return FORMS.map((form) => {
    try {
      const result = work(form)
      return result instanceof Uint8Array ? hex(result) : String(result)
    } catch {
      return 'error'
    }
  })
}

/** Expects both results to be equal and returns the result. */
function expectSame(work: (form: typeof node) => Uint8Array | boolean | null): string {
  const [one, other] = both(work)
  expect(other).toBe(one)
  return one!
}

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })

test('node:crypto and the web primitives export the same names', () => {
  expect(Object.keys(web).toSorted()).toEqual(Object.keys(node).toSorted())
})

test('both implementations compute the same hashes, HMAC and HKDF', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), fc.string(), (one, other, info) => {
      const made = [
        expectSame((form) => form.sha256(one)),
        expectSame((form) => form.sha512(one)),
        expectSame((form) => form.sha3(one)),
        expectSame((form) => {
          const hash = form.startSha256()
          hash.update(one)
          hash.update(other)
          return hash.digest()
        }),
        expectSame((form) => form.hmac(one, other)),
        expectSame((form) => form.hkdf(one, other, info)),
      ]
      expect(made.map(({ length }) => length)).toEqual([64, 128, 64, 64, 64, 64])
    }),
  )
})

test('both implementations of isEqual agree, also for different lengths', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (one, other) => {
      expect(expectSame((form) => form.isEqual(one, Uint8Array.from(one)))).toBe('true')
      expectSame((form) => form.isEqual(one, other))
    }),
  )
})

test("each implementation opens the other's sealed bytes, and neither opens changed or truncated ones", () => {
  fc.assert(
    fc.property(bytes(32), bytes(12), fc.uint8Array(), fc.nat(), fc.nat(7), (key, nonce, plaintext, at, bit) => {
      const sealed = Buffer.from(
        expectSame((form) => form.seal(key, nonce, plaintext)),
        'hex',
      )
      expect(expectSame((form) => form.open(key, nonce, sealed))).toBe(hex(plaintext))
      expect(expectSame((form) => form.open(key, nonce, sealed.subarray(0, at % sealed.length)))).toBe('null')
      sealed[at % sealed.length]! ^= 1 << bit
      expect(expectSame((form) => form.open(key, nonce, sealed))).toBe('null')
    }),
  )
})

describe('X25519', () => {
  test('is the same for any scalar and point, and refuses points of another length', () => {
    fc.assert(
      fc.property(bytes(32), bytes(32), (scalar, point) => {
        expect(expectSame((form) => form.x25519(scalar)(point))).toMatch(/^[0-9a-f]{64}$/)
      }),
    )
    for (const length of [0, 31, 33]) {
      expect(expectSame((form) => form.x25519(new Uint8Array(32))(new Uint8Array(length)))).toBe('error')
    }
  })

  // RFC 7748, section 5: a number above the prime is reduced, and the top bit is ignored.
  test.each([
    ['above the prime', `f6${'ff'.repeat(30)}7f`],
    ['with its top bit set', `09${'00'.repeat(30)}80`],
  ])('accepts a point %s', (_name, point) => {
    expect(expectSame((form) => form.x25519(new Uint8Array(32).fill(1))(Buffer.from(point, 'hex')))).toMatch(/^[0-9a-f]{64}$/)
  })

  // All points of small order, in every encoding: Curve25519's own list, https://cr.yp.to/ecdh.html#validate
  test.each([
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000080',
    '0100000000000000000000000000000000000000000000000000000000000080',
  ])('refuses the point of small order %s', (point) => {
    expect(expectSame((form) => form.x25519(new Uint8Array(32).fill(1))(Buffer.from(point, 'hex')))).toBe('error')
  })

  test('key agreement works between any two implementations', () => {
    for (const form of FORMS) {
      for (const other of FORMS) {
        const [one, two] = [form.createShare(), other.createShare()]
        expect(hex(one.multiply(two.share))).toBe(hex(two.multiply(one.share)))
        expect(hex(one.share)).not.toBe(hex(form.createShare().share))
      }
    }
  })
})

describe('ML-KEM-768', () => {
  test('has the same keys from any seed, and refuses seeds of another length', () => {
    fc.assert(
      fc.property(bytes(64), (seed) => {
        expect(expectSame((form) => form.kemKey(seed).public)).toHaveLength(2 * 1_184)
      }),
      { numRuns: 20 },
    )
    for (const length of [0, 32, 63, 65]) expect(expectSame((form) => form.kemKey(new Uint8Array(length)).public)).toBe('error')
  })

  test('encapsulates and decapsulates between any two implementations, and answers a wrong ciphertext with the same secret', () => {
    const seed = node.randomBytes(64)
    for (const form of FORMS) {
      const { ciphertext, secret } = form.encapsulateTo(form.kemKey(seed).public)
      expect(ciphertext).toHaveLength(1_088)
      expect(expectSame((other) => other.kemKey(seed).decapsulate(ciphertext))).toBe(hex(secret))
      const wrong = Uint8Array.from(ciphertext)
      wrong[5]! ^= 1
      expect(expectSame((other) => other.kemKey(seed).decapsulate(wrong))).toMatch(/^[0-9a-f]{64}$/)
      for (const length of [0, 1_087, 1_089]) {
        expect(expectSame((other) => other.kemKey(seed).decapsulate(new Uint8Array(length)))).toBe('error')
      }
    }
    for (const length of [0, 1_183, 1_185]) {
      expect(expectSame((form) => form.encapsulateTo(new Uint8Array(length)).ciphertext)).toBe('error')
    }
  })
})

test('both implementations compute the same SHA-3 and SHAKE', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.integer({ min: 1, max: 300 }), (message, length) => {
      expect(expectSame((form) => form.sha3(message))).toMatch(/^[0-9a-f]{64}$/)
      expect(expectSame((form) => form.shake256(message, length))).toHaveLength(2 * length)
    }),
  )
})

test('both implementations derive the same ed25519 keys and signatures', () => {
  fc.assert(
    fc.property(bytes(32), fc.uint8Array(), (seed, message) => {
      expect(expectSame((form) => form.ed25519(seed).point)).toMatch(/^[0-9a-f]{64}$/)
      expect(expectSame((form) => form.ed25519(seed).sign(message))).toMatch(/^[0-9a-f]{128}$/)
    }),
  )
})

test('randomBytes returns as many bytes as requested, and different ones each time', () => {
  for (const form of FORMS) {
    expect(form.randomBytes(24)).toHaveLength(24)
    expect(hex(form.randomBytes(16))).not.toBe(hex(form.randomBytes(16)))
  }
})

const pem = (key: KeyObject): Buffer => Buffer.from(key.export({ format: 'pem', type: 'pkcs8' }))
const rsa = parsePrivateKey(pem(generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey))

test('both implementations encrypt by RSA-OAEP, and the ciphertext opens only under the same label', async () => {
  const { material } = rsa.public
  if (material.kind !== 'rsa') throw new TypeError('no RSA key')
  const [label, plaintext] = [Buffer.from('a label'), Buffer.alloc(16, 3)]
  for (const form of FORMS) {
    const sealed = await form.encryptOaep(material, plaintext, label)
    expect(hex(rsa.decrypt!(sealed, label))).toBe(hex(plaintext))
    expect(() => rsa.decrypt!(sealed, Buffer.from('another'))).toThrow(Error)
  }
})

describe('signatures', () => {
  const message = Buffer.from('a text')
  const ec = (curve: string) => parsePrivateKey(pem(generateKeyPairSync('ec', { namedCurve: curve }).privateKey))
  test.each([
    ['ed25519', undefined, generateSeedKey()],
    ['rsa', 'sha512', rsa],
    ['nistp256', 'sha256', ec('P-256')],
    ['nistp384', 'sha384', ec('P-384')],
    ['nistp521', 'sha512', ec('P-521')],
  ] as const)('of %s verify with both implementations, and neither accepts them after any change', async (_name, digest, key) => {
    const { material } = key.public
    const signature = key.sign(message)
    for (const form of FORMS) {
      expect(await form.verify(material, digest, message, signature)).toBe(true)
      expect(await form.verify(material, digest, Buffer.from('another text'), signature)).toBe(false)
      expect(await form.verify(material, digest, message, signature.subarray(1))).toBe(false)
      expect(await form.verify(material, digest, message, new Uint8Array(0))).toBe(false)
      for (let at = 0; at < signature.length; at += 7) {
        const changed = Uint8Array.from(signature)
        changed[at]! ^= 1
        expect(await form.verify(material, digest, message, changed)).toBe(false)
      }
    }
  })

  test('of RSA by SHA-256 verify with both implementations', async () => {
    const signature = sign('sha256', message, rsa.keyObject)
    for (const form of FORMS) {
      expect(await form.verify(rsa.public.material, 'sha256', message, signature)).toBe(true)
      expect(await form.verify(rsa.public.material, 'sha512', message, signature)).toBe(false)
    }
  })

  test('under a point off the curve are refused', async () => {
    const point = new Uint8Array(65).fill(4)
    for (const form of FORMS) {
      expect(await form.verify({ kind: 'ecdsa', curve: 'nistp256', point }, 'sha256', message, new Uint8Array(64).fill(1))).toBe(false)
    }
  })
})

const CURVES = { nistp256: p256, nistp384: p384, nistp521: p521 } as const

describe.each(Object.entries(CURVES) as [keyof typeof CURVES, (typeof CURVES)[keyof typeof CURVES]][])(
  'a point of %s, to both implementations,',
  (curve, { Point, getPublicKey, utils }) => {
    const good = (): Uint8Array => getPublicKey(utils.randomSecretKey(), false)
    const width = Point.BASE.toBytes(true).length - 1
    const join = (x: bigint, y: bigint): Uint8Array =>
      Buffer.from(`04${x.toString(16).padStart(2 * width, '0')}${y.toString(16).padStart(2 * width, '0')}`, 'hex')

    test('is on the curve if it is a key', () => {
      for (let n = 0; n < 20; n++) expect(expectSame(({ isOnCurve }) => isOnCurve(curve, good()))).toBe('true')
    })

    test('is not on the curve after any change of a bit', () => {
      fc.assert(
        fc.property(fc.nat(16 * width - 1), (bit) => {
          const point = good()
          point[1 + (bit >> 3)]! ^= 1 << (bit & 7)
          expect(expectSame(({ isOnCurve }) => isOnCurve(curve, point))).toBe('false')
        }),
        { numRuns: 50 },
      )
    })

    test('has coordinates below the prime, and is not infinity', () => {
      const { x, y } = Point.fromBytes(good())
      const p = Point.Fp.ORDER
      for (const [one, other] of [
        [0n, 0n],
        [p, 0n],
        [x, p - y],
        [x + p, y],
        [x, y + p],
      ] as const) {
        if (one >> BigInt(8 * width) > 0n || other >> BigInt(8 * width) > 0n) continue
        const expected = one === x && other === p - y
        expect(expectSame(({ isOnCurve }) => isOnCurve(curve, join(one, other)))).toBe(String(expected))
      }
    })
  },
)
