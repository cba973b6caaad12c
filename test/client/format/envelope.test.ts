/** The bound on the recipients of a stranger's age file. */
import { Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { expect, test } from 'vitest'
import { open } from '../../../src/client/format/envelope.ts'

const secret = await generateX25519Identity()
const [ours, other] = [await identityToRecipient(secret), await identityToRecipient(await generateX25519Identity())]

async function encryptTo(...recipients: readonly string[]): Promise<Uint8Array> {
  const encrypter = new Encrypter()
  for (const recipient of recipients) encrypter.addRecipient(recipient)
  return encrypter.encrypt('hello')
}

test.each([
  [1, true],
  [32, true],
  [33, false],
  [200, false],
])('a file to %i recipients, the last of them ours, opens: %s', async (count, opens) => {
  const file = await encryptTo(...Array.from({ length: count - 1 }, () => other), ours)
  const text = await open({ opens: [secret] }, file)
  expect(text && Buffer.from(text).toString()).toBe(opens ? 'hello' : undefined)
})

test('a payload without a header, or with one that never ends, does not open', async () => {
  for (const payload of ['', '-> ', 'age-encryption.org/v1\n', `age-encryption.org/v1\n${'-> X25519 A\n'.repeat(2_000)}`])
    expect(await open({ opens: [secret] }, Buffer.from(payload))).toBeUndefined()
})
