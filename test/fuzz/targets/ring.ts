import { decodeFiles, encodeFiles } from '../../../src/profile/files.ts'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { EMPTY, type Ring } from '../../../src/client/ring/state.ts'
import { decodeRing, encodeRing, RingError } from '../../../src/client/ring/text.ts'
import { bob, NOW, ONION } from '../people.ts'
import { attempt, bytesOf, fail, latin1, same, type Target } from '../target.ts'

const CONTACT = fingerprintOf(bob.key)
const ID = `${'A'.repeat(21)}Q`
const place = { time: NOW, id: ID, index: 0 }
const full: Ring = {
  ...EMPTY,
  known: true,
  heard: NOW,
  usedAt: NOW,
  anewAt: NOW,
  left: { count: 2, time: NOW },
  address: { time: NOW, mailboxes: [{ fingerprint: CONTACT, relay: ONION }] },
  doubt: { time: NOW, id: ID, keys: [hybridKey(new Uint8Array(32)).recipient], address: [{ fingerprint: CONTACT, relay: ONION }] },
  held: [{ place, recipient: hybridKey(new Uint8Array(32)).recipient, mark: 3 }],
  given: [{ place, seed: new Uint8Array(32), use: 'open', until: NOW }],
  read: [ID],
  runs: [{ id: ID, after: ID, since: NOW, place }],
  seen: new Map([[ID, ID]]),
  unread: new Map([[ID, { time: NOW, reported: true }]]),
  reports: [NOW],
  reportAt: NOW,
}

/** `r`: the one-time keys of a contact, as the disk has them. `p`: a profile from another device. */
export const target: Target = {
  name: 'ring',
  covers: ['client/ring/text.ts', 'profile/files.ts'],
  seeds: () => [
    ...[EMPTY, full].map((ring) => `r${latin1(encodeRing(CONTACT, ring))}`),
    `p${latin1(
      encodeFiles(
        new Map([
          ['profile', Buffer.from('name: Bob\n')],
          ['contacts/Alice', Buffer.from('x')],
        ]),
      ),
    )}`,
  ],
  run(input) {
    const body = input.slice(1)
    if (input[0] === 0x70) {
      const files = decodeFiles(body)
      if (files === undefined) return 'no profile'
      for (const path of files.keys()) if (/^[./]|\/[./]|\0|^state(?:\/|$)/.test(path)) fail(`the path ${JSON.stringify(path)}`)
      const again = decodeFiles(encodeFiles(files))
      same('files', JSON.stringify([...(again ?? [])]), JSON.stringify([...files]))
      return `profile of ${Math.min(files.size, 2)}`
    }
    const read = attempt(
      () => decodeRing(CONTACT, body),
      (error) => error instanceof RingError,
    )
    if (!('value' in read)) return read.refused
    same('a ring', latin1(encodeRing(CONTACT, read.value)), latin1(bytesOf(body)))
    return `ring, ${read.value.given.length} ${read.value.held.length}`
  },
}
