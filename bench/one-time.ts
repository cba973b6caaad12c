/**
 * The CPU time of a client for a message to a one-time key: to make the key, to encrypt to it, and to open the message with
 * the key's seed, as after a restart. age-encryption alone does the same work for comparison.
 */
import { Decrypter, Encrypter, generateHybridIdentity, identityToRecipient } from 'age-encryption'
import { hybridKey } from '../src/auth/age-hybrid.ts'
import { randomBytes } from '../src/auth/crypto.ts'
import { openWith, sealTo } from '../src/client/format/envelope.ts'
import { PADDED_BYTES } from '../src/client/format/message.ts'

/** Messages in a sample, and before the first one. */
const MESSAGES = 300
const WARM = 100

async function passOurs(text: Uint8Array): Promise<boolean> {
  const seed = randomBytes(32)
  const file = await sealTo(hybridKey(seed).recipient, text)
  return (await openWith([hybridKey(seed)], file))?.text.length === text.length
}

async function passTheirs(text: Uint8Array): Promise<boolean> {
  const identity = await generateHybridIdentity()
  const encrypter = new Encrypter()
  encrypter.addRecipient(await identityToRecipient(identity))
  const decrypter = new Decrypter()
  decrypter.addIdentity(identity)
  return (await decrypter.decrypt(await encrypter.encrypt(text))).length === text.length
}

/** @param record receives milliseconds of CPU time for one message of the smallest size */
export async function measureOneTime(
  rounds: number,
  record: (by: 'client' | 'age', round: number, milliseconds: number) => void,
): Promise<void> {
  const text = randomBytes(PADDED_BYTES[0])
  for (let round = 0; round <= rounds; round++) {
    for (const [by, pass] of [
      ['client', passOurs],
      ['age', passTheirs],
    ] as const) {
      const count = round === 0 ? WARM : MESSAGES
      const before = process.cpuUsage()
      for (let n = 0; n < count; n++) if (!(await pass(text))) throw new Error('a message did not open')
      const { user, system } = process.cpuUsage(before)
      if (round > 0) record(by, round, (user + system) / 1_000 / count)
    }
  }
}
