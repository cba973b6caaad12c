/** Messages, cards and groups in a page whose browser gives it no WebCrypto. */
import { generateKeyPairSync } from 'node:crypto'
import { afterEach, expect, test, vi } from 'vitest'
import { parsePrivateKey } from '../../../src/auth/private-key.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { makeCard, parseCard } from '../../../src/client/format/card.ts'
import { makeId } from '../../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { encodeMessage, openMessage } from '../../../src/client/format/message.ts'

vi.mock('../../../src/auth/crypto.ts', () => import('../../../src/auth/crypto.web.ts'))

const { crypto } = globalThis
afterEach(() => void vi.unstubAllGlobals())

const NOW = 1_800_000_000
const receiver = identityOf(generateSeedKey())
const ed25519 = identityOf(generateSeedKey())
const rsa = identityOf(
  parsePrivateKey(Buffer.from(generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export({ format: 'pem', type: 'pkcs8' }))),
)

async function messageOf(identity: Identity): Promise<Uint8Array> {
  const content = { type: 'text', text: 'hello' } as const
  return encodeMessage(identity, { to: receiver, id: makeId(), time: NOW, content })
}
const messages = { ed25519: await messageOf(ed25519), rsa: await messageOf(rsa) }
const card = await makeCard(rsa, { name: 'Rsa', relays: ['localhost'], time: NOW })

const open = async (payload: Uint8Array): Promise<string> => (await openMessage(receiver, payload, { now: NOW })).verdict

test('with WebCrypto both messages are genuine', async () => {
  expect([await open(messages.ed25519), await open(messages.rsa)]).toEqual(['genuine', 'genuine'])
})

test('with WebCrypto a message with a wrong signature is forged', async () => {
  const forger: Identity = { ...rsa, sign: (namespace) => rsa.sign(namespace, Buffer.from('another text')) }
  expect(await open(await messageOf(forger))).toBe('forged')
})

test('without WebCrypto no genuine message is called forged', async () => {
  vi.stubGlobal('crypto', { getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes) })
  expect([await open(messages.ed25519), await open(messages.rsa)]).toEqual(['genuine', 'unverifiable'])
  await expect(parseCard(card.text)).rejects.toMatchObject({ code: 'unverifiable' })
})
