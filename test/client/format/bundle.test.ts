/** Bundles (docs/protocol.md, section 14): each bundle has exactly one text. */
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { type Bundle, BundleError, chooseBundle, judgeBundle, makeBundle, parseBundle } from '../../../src/client/format/bundle.ts'
import { formatKey, formatTime } from '../../../src/client/format/field.ts'
import { split } from '../../../src/client/format/signed.ts'
import { keygenVerifies, makeFolder, needs } from '../../auth/openssh.ts'
import { makePerson, NOW } from '../people.ts'

const DAY = 86_400
const inbox = (await makePerson('ed25519')).identity
const encrypt = hybridKey(new Uint8Array(32).fill(1)).recipient
const bundle = await makeBundle(inbox, { encrypt, now: NOW })

test('a bundle is the same after it was written and read, and tells only the day', async () => {
  expect(await parseBundle(inbox.key, bundle.text)).toEqual(bundle)
  expect(formatTime(bundle.time)).toMatch(/T00:00:00Z$/)
  expect([NOW - bundle.time < DAY, bundle.until - bundle.time]).toEqual([true, 14 * DAY])
  // On the whole day it is the same text, since ed25519 is deterministic.
  expect(await makeBundle(inbox, { encrypt, now: bundle.time + DAY - 1 })).toEqual(bundle)
  expect(await makeBundle(inbox, { encrypt, now: bundle.time + DAY })).not.toEqual(bundle)
  // Base64 of it fits the 8,192 characters that a relay takes.
  expect(4 * Math.ceil(bundle.text.length / 3)).toBeLessThan(4_000)
})

test('only an ed25519 key with a post-quantum recipient makes one', async () => {
  const { identity, to } = await makePerson('rsa2048')
  await expect(makeBundle(identity, { encrypt, now: NOW })).rejects.toThrow(TypeError)
  const { recipient } = (await makePerson('ecdsa256')).to
  for (const [change, code] of [
    [{ encrypt: recipient! }, 'bad-recipient'],
    [{ encrypt: formatKey(to.key) }, 'bad-recipient'],
    [{ now: -1 }, 'bad-time'],
    [{ now: Number.NaN }, 'bad-time'],
    [{ now: 1e12 }, 'bad-time'],
  ] as const)
    await expect(makeBundle(inbox, { encrypt, now: NOW, ...change })).rejects.toMatchObject({ name: 'BundleError', code })
})

test('a bundle of another inbox, with any byte changed, cut or continued is refused', async () => {
  const other = (await makePerson('ed25519')).identity.key
  await expect(parseBundle(other, bundle.text)).rejects.toMatchObject({ code: 'other-key' })
  await fc.assert(
    fc.asyncProperty(fc.nat(bundle.text.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const changed = Uint8Array.from(bundle.text)
      changed[at]! ^= change
      await expect(parseBundle(inbox.key, changed)).rejects.toThrow(BundleError)
      await expect(parseBundle(inbox.key, bundle.text.subarray(0, at))).rejects.toThrow(BundleError)
      await expect(parseBundle(inbox.key, Buffer.concat([bundle.text, Buffer.of(change)]))).rejects.toThrow(BundleError)
    }),
  )
})

test('a megabyte is refused before it is read', async () => {
  const text = Buffer.concat([Buffer.from('asfaleia-bundle/1\n'), Buffer.alloc(1_048_576, 'x')])
  const start = performance.now()
  await expect(parseBundle(inbox.key, text)).rejects.toMatchObject({ code: 'malformed' })
  expect(performance.now() - start).toBeLessThan(100)
})

test('its time may be two days away from ours', () => {
  const { time, until } = bundle
  for (const [now, verdict] of [
    [time - 2 * DAY - 1, 'early'],
    [time - 2 * DAY, 'good'],
    [until + 2 * DAY - 1, 'good'],
    [until + 2 * DAY, 'over'],
  ] as const)
    expect(judgeBundle({ time, until }, now)).toBe(verdict)
})

test('of a bundle that was seen and one that a relay serves, the newer good one is used', async () => {
  const make = (day: number): Promise<Bundle> => makeBundle(inbox, { encrypt, now: NOW + day * DAY })
  const [old, fresh, over, early] = [await make(-3), await make(-1), await make(-20), await make(9)]
  expect(chooseBundle(fresh, old, NOW)).toBe(fresh)
  expect(chooseBundle(old, fresh, NOW)).toBe(fresh)
  expect(chooseBundle(old, early, NOW)).toBe(old)
  expect(chooseBundle(undefined, old, NOW)).toBe(old)
  expect(chooseBundle(over, undefined, NOW)).toBeUndefined()
  expect(chooseBundle(over, early, NOW)).toBeUndefined()
  // A relay that serves two of one day: the one that it serves now.
  const same = await make(-1)
  expect(chooseBundle(fresh, same, NOW)).toBe(same)
})

describe('ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  test('verifies a bundle', () => {
    const { signed, blob } = split(bundle.text)!
    expect(keygenVerifies(makeFolder(), { line: formatKey(inbox.key), blob, namespace: 'asfaleia-bundle', message: signed })).toBe(true)
  })
})
