/**
 * Helpers shared by the tests of messages, cards and groups: people with keys of every type, and signed texts
 * of any form.
 */
import { generateKeyPairSync } from 'node:crypto'
import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { encodeText } from '../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'
import type { Correspondent } from '../../src/client/format/message.ts'
import { armor } from '../../src/client/format/signed.ts'
import { makeFidoKey } from '../auth/openssh.ts'
import { concat } from '../../src/auth/ssh-wire.ts'

export const NOW = 1_795_000_000
export const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

export interface Person {
  readonly identity: Identity
  /** The person as others know them. */
  readonly to: Correspondent
}

const PEM = { format: 'pem', type: 'pkcs8' } as const
const pem = {
  ed25519: () => generateKeyPairSync('ed25519').privateKey.export(PEM),
  rsa2048: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export(PEM),
  rsa4096: () => generateKeyPairSync('rsa', { modulusLength: 4_096 }).privateKey.export(PEM),
  ecdsa256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(PEM),
  ecdsa384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export(PEM),
  ecdsa521: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey.export(PEM),
} as const

export type KeyKind = keyof typeof pem | 'sk-ed25519' | 'sk-ecdsa'
export const KINDS: readonly KeyKind[] = ['ed25519', 'rsa2048', 'rsa4096', 'ecdsa256', 'ecdsa384', 'ecdsa521', 'sk-ed25519', 'sk-ecdsa']

export async function makePerson(kind: KeyKind): Promise<Person> {
  const signer = makeSigner(kind)
  if (signer.key.canDecrypt) return { identity: signer, to: { key: signer.key } }
  const secret = await generateX25519Identity()
  const recipient = await identityToRecipient(secret)
  return { identity: { ...signer, opens: [secret], recipient }, to: { key: signer.key, recipient } }
}

function makeSigner(kind: KeyKind): Identity {
  if (kind !== 'sk-ed25519' && kind !== 'sk-ecdsa') return identityOf(parsePrivateKey(Buffer.from(pem[kind]())))
  const fido = makeFidoKey(kind === 'sk-ecdsa' ? 'nistp256' : 'ed25519')
  return { key: parsePublicKey(fido.line), sign: async (namespace, message) => fido.sign(namespace, message), proof: 'sign', opens: [] }
}

/** Appends the person's signature to any text. */
export async function signText(person: Person, namespace: string, text: string | Uint8Array): Promise<Uint8Array> {
  const signed = typeof text === 'string' ? encodeText(text) : text
  return concat(signed, armor(await person.identity.sign(namespace, signed)))
}

/**
 * Replaces the key in a signature blob. The signature stays valid, because the signed data does not include the
 * key.
 */
export function withKey(blob: Uint8Array, key: Uint8Array): Uint8Array {
  const bytes = Buffer.from(blob)
  const size = Buffer.alloc(4)
  size.writeUInt32BE(key.length)
  return Buffer.concat([bytes.subarray(0, 10), size, key, bytes.subarray(14 + bytes.readUInt32BE(10))])
}
