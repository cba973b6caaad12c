/**
 * Failed logins cost the same work, whatever is wrong with them: counts the calls of every cryptographic primitive. No
 * key from an answer is used unless its handle was open.
 */
import { createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type * as Crypto from '../../src/auth/crypto.ts'
import { parsePrivateKey, type SshPrivateKey } from '../../src/auth/private-key.ts'
import { parseKeyBlob } from '../../src/auth/ssh-key.ts'
import { concat, encodeString } from '../../src/auth/ssh-wire.ts'
import { AUTH_NAMESPACE, encodeSignature, signMessage } from '../../src/auth/sshsig.ts'
import { buildChallenge } from '../../src/protocol/challenge.ts'
import { Prover, type RelayProof } from '../../src/relay/prover.ts'
import { buildBlob } from '../auth/openssh.ts'
import { createPerson } from '../support/wire.ts'

const calls = vi.hoisted(() => [] as string[])

vi.mock('../../src/auth/crypto.ts', async (original) => {
  const real = await original<typeof Crypto>()
  const counted = Object.entries(real).map(([name, value]) => [
    name,
    typeof value !== 'function'
      ? value
      : (...given: unknown[]): unknown => {
          // A verification is told apart by its key: types and sizes cost differently.
          const key = name === 'verify' ? (given[0] as { kind: string; modulus?: Uint8Array }) : undefined
          calls.push(key === undefined ? name : `verify ${key.kind} ${key.modulus?.length ?? ''}`.trimEnd())
          return (value as (...given: unknown[]) => unknown)(...given)
        },
  ])
  return Object.fromEntries(counted) as typeof Crypto
})

const prover = new Prover(createSecretKey(randomBytes(32)))
const [bob, eve] = [createPerson(), createPerson()]

async function open(method: 'sign' | 'decrypt'): Promise<RelayProof> {
  const result = await prover.challenge(Buffer.from(bob.line), method === 'sign', { relay: 'localhost', ...prover.drawChallenge() })
  if ('refused' in result) throw new Error(result.refused)
  return result.proof
}

const lineOf = ({ challenge }: RelayProof): Buffer => Buffer.from(buildChallenge(challenge))
const encode = (blob: Uint8Array): Buffer => Buffer.from(Buffer.from(blob).toString('base64'))
const sign = (key: SshPrivateKey, line: Uint8Array, namespace = AUTH_NAMESPACE): Buffer => encode(signMessage(key, namespace, line))

/** Returns the sorted calls that an answer's check makes. */
async function work(proof: RelayProof | undefined, answer: Uint8Array): Promise<string[]> {
  calls.length = 0
  expect(await prover.verify(proof, answer)).toBe(false)
  return calls.toSorted()
}

function spoil(answer: Buffer, at: number): Buffer {
  const bytes = Buffer.from(answer.toString('latin1'), 'base64')
  bytes[bytes.length + at]! ^= 1
  return encode(bytes)
}

let signed: RelayProof
let sealed: RelayProof
/** The work for a wrong signature of the right key: of every type of key, one verification. */
let usual: string[]

beforeAll(async () => {
  signed = await open('sign')
  sealed = await open('decrypt')
  usual = await work(signed, spoil(sign(bob.key, lineOf(signed)), -8))
})

beforeEach(() => void (calls.length = 0))
afterAll(() => vi.restoreAllMocks())

describe('an answer by signature', () => {
  it('that is wrong costs one verification and one comparison of fingerprints', () => {
    expect(usual.filter((call) => call.startsWith('verify'))).toEqual(['verify ed25519'])
    expect(usual.filter((call) => call === 'isEqual')).toEqual(['isEqual'])
  })

  it.each<[string, () => [RelayProof | undefined, Buffer]]>([
    ['of another line', () => [signed, sign(bob.key, Buffer.from('another'))]],
    ['of another key', () => [signed, sign(eve.key, lineOf(signed))]],
    ['of another namespace', () => [signed, sign(bob.key, lineOf(signed), 'file')]],
    ['to a challenge that asked for decryption', () => [sealed, sign(bob.key, lineOf(sealed))]],
    ['for an unknown, used or expired handle, or one of another connection', () => [undefined, sign(bob.key, lineOf(signed))]],
    ['that is no SSHSIG, for an unknown handle', () => [undefined, Buffer.from('U1NIU0lHnonsense')]],
  ])('%s costs the same', async (_what, made) => {
    expect(await work(...made())).toEqual(usual)
  })

  it('for an unknown handle costs the same if its key is RSA-8192 or P-521: the key is not used', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-521' })
    const p521 = parsePrivateKey(Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' })))
    // No private key is needed for a wrong signature.
    const rsa = parseKeyBlob(buildBlob('ssh-rsa', 65_537n, (1n << 8191n) | 1n))
    const body = concat(encodeString('rsa-sha2-512'), encodeString(new Uint8Array(1_024)))
    const large = [
      { key: p521.public, answer: sign(p521, lineOf(signed)) },
      { key: rsa, answer: encode(encodeSignature(rsa, AUTH_NAMESPACE, body)) },
    ]
    for (const { key, answer } of large) {
      expect([key.type, await work(undefined, answer)]).toEqual([key.type, usual])
      // With an open challenge, which was paid for, it is.
      expect((await work(signed, answer)).filter((call) => call.startsWith('verify'))).not.toEqual(['verify ed25519'])
    }
  })
})

describe('an answer by text', () => {
  it.each<[string, () => [RelayProof | undefined, Buffer]]>([
    ['that is wrong', () => [sealed, Buffer.from(lineOf(sealed).map((byte, at) => (at === 50 ? byte ^ 1 : byte)))]],
    ['of another length', () => [sealed, Buffer.from('short')]],
    ['to a challenge that asked for a signature', () => [signed, lineOf(signed)]],
    ['for an unknown handle', () => [undefined, lineOf(sealed)]],
    ['of no bytes', () => [sealed, Buffer.alloc(0)]],
  ])('%s costs no cryptography but a comparison', async (_what, made) => {
    expect(await work(...made())).toEqual([])
  })
})
