import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { openRings } from '../../../src/cli/profile/rings.ts'
import { sealFor } from '../../../src/client/format/envelope.ts'
import { encodeText, fingerprintOf, makeId } from '../../../src/client/format/field.ts'
import { identityOf } from '../../../src/client/format/identity.ts'
import { onSend } from '../../../src/client/ring/sending.ts'
import { EMPTY, RING, type Ring } from '../../../src/client/ring/state.ts'
import { encodeRing } from '../../../src/client/ring/text.ts'
import { run } from '../../support/process.ts'

const RINGS = join(import.meta.dirname, '../../../src/cli/profile/rings.ts')
const identity = identityOf(generateSeedKey())
const [bob, carol] = [1, 2].map(() => fingerprintOf(generateSeedKey().public)) as [string, string]
const NOW = 1_795_000_000
const { recipient } = hybridKey(new Uint8Array(32).fill(1))

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-rings-'))
})
afterEach(() => {
  chmodSync(root, 0o700)
  rmSync(root, { recursive: true })
})

const seeds = (): Uint8Array[] => [1, 2, 3].map((n) => new Uint8Array(32).fill(n))
const send = (ring: Ring): Ring => onSend(ring, { id: makeId(), time: NOW, bundle: recipient }, seeds())!.ring
const files = (): string[] => readdirSync(join(root, 'ring'))

test('a ring is read as it was written, one file a contact, encrypted and for the user alone', async () => {
  const rings = openRings(root, identity)
  expect(await rings.load(bob)).toBeUndefined()
  const [one, two] = [send(EMPTY), send(send(EMPTY))]
  await rings.save(bob, one)
  await rings.save(carol, two)
  expect(await openRings(root, identity).load(bob)).toEqual(one)
  expect(await rings.load(carol)).toEqual(two)
  expect(files()).toHaveLength(2)
  expect((await openRings(root, identity).list()).toSorted()).toEqual([bob, carol].toSorted())
  for (const name of files()) {
    expect(name).toMatch(/^[0-9a-f]{32}\.age$/)
    expect(statSync(join(root, 'ring', name)).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(root, 'ring', name), 'latin1')).toMatch(/^age-encryption\.org\/v1\n-> ssh-ed25519 /)
  }
  await rings.save(bob, two)
  expect(await rings.load(bob)).toEqual(two)
  await rings.remove(bob)
  await rings.remove(bob)
  expect(await rings.load(bob)).toBeUndefined()
  expect(files()).toHaveLength(1)
})

test('the largest ring is written and read', async () => {
  const place = (n: number): { time: number; id: string; index: number } => ({ time: NOW + n, id: makeId(), index: 2 })
  const mailbox = { fingerprint: bob, relay: `${'a'.repeat(56)}.onion:65535` }
  const range = <T>(count: number, make: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n))
  const keys = [1, 2, 3].map((n) => hybridKey(new Uint8Array(32).fill(n)).recipient)
  const ring: Ring = {
    ...EMPTY,
    given: range(RING.given, (n) => ({ place: place(n), seed: new Uint8Array(32).fill(n), use: 'former', until: NOW, mark: NOW })),
    held: range(RING.held, (n) => ({ place: place(n), recipient, mark: NOW })),
    last: { place: place(1), recipient, mark: NOW },
    doubt: { time: NOW, id: makeId(), keys, address: range(4, (n) => ({ ...mailbox, relay: `${mailbox.relay.slice(0, -1)}${n}` })) },
    read: range(RING.read, makeId),
    runs: range(RING.runs, (n) => ({ id: makeId(), after: makeId(), since: NOW, place: place(n) })),
    seen: new Map(range(RING.seen, () => [makeId(), makeId()] as const)),
    unread: new Map(range(RING.unread, () => [makeId(), { time: NOW, reported: true }])),
  }
  expect(encodeRing(bob, ring).length).toBeLessThan(475_000)
  const rings = openRings(root, identity)
  await rings.save(bob, ring)
  expect(await rings.load(bob)).toEqual(ring)
})

test('a damaged file, one of another key, contact or version is named, and left as it is', async () => {
  const rings = openRings(root, identity)
  await rings.save(bob, send(EMPTY))
  const path = join(root, 'ring', files()[0]!)
  const text = encodeRing(bob, send(EMPTY))
  const stranger = identityOf(generateSeedKey())
  const cases: readonly (readonly [Uint8Array, RegExp])[] = [
    [readFileSync(path).subarray(0, -1), /damaged, or encrypted to another key/],
    [new Uint8Array(0), /damaged, or encrypted to another key/],
    [await sealFor(stranger, text), /damaged, or encrypted to another key/],
    [await sealFor(identity, text.subarray(0, -1)), /the ring is damaged/],
    [await sealFor(identity, encodeRing(carol, EMPTY)), /one of another contact/],
    [await sealFor(identity, encodeText('asfaleia-ring/2\n')), /a later version/],
    [await sealFor(identity, encodeText('asfaleia-outbox/1\n')), /the ring is damaged/],
  ]
  for (const [file, message] of cases) {
    writeFileSync(path, file)
    await expect(rings.load(bob)).rejects.toThrow(message)
    await expect(rings.load(bob)).rejects.toThrow(path)
    expect(Buffer.compare(readFileSync(path), file)).toBe(0)
  }
})

test('on a full disk the former ring stays', async () => {
  const rings = openRings(root, identity)
  const ring = send(EMPTY)
  await rings.save(bob, ring)
  const script = `
    import { openRings } from ${JSON.stringify(RINGS)}
    import { EMPTY } from ${JSON.stringify(join(import.meta.dirname, '../../../src/client/ring/state.ts'))}
    import { generateSeedKey } from ${JSON.stringify(join(import.meta.dirname, '../../../src/auth/seed.ts'))}
    import { identityOf } from ${JSON.stringify(join(import.meta.dirname, '../../../src/client/format/identity.ts'))}
    const read = Array.from({ length: 256 }, (_, n) => 'A'.repeat(18) + String(n).padStart(3, '0') + 'A')
    await openRings(${JSON.stringify(root)}, identityOf(generateSeedKey())).save(${JSON.stringify(bob)}, { ...EMPTY, read })
      .catch((error) => process.stdout.write(error.message))`
  // A file size limit of 2,048 bytes has the effect of a full disk.
  const { stdout } = await run(['sh', '-c', 'ulimit -f 4; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script])
  expect(stdout).toMatch(/^cannot write .*: the disk is full$/)
  expect(await rings.load(bob)).toEqual(ring)
  expect(files()).toHaveLength(1)
})
