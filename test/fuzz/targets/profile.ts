import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeCard } from '../../../src/client/format/card.ts'
import { formatKey } from '../../../src/client/format/field.ts'
import { makeGroup, makeGroupId } from '../../../src/client/format/group.ts'
import { Fields } from '../../../src/profile/fields.ts'
import { Home } from '../../../src/cli/profile/home.ts'
import { formatOnionKey, parseOnionKey } from '../../../src/cli/profile/onions.ts'
import { CliError, UsageError } from '../../../src/cli/program/error.ts'
import { makeFolder } from '../peer.ts'
import { alice, bob, NOW, ONION } from '../people.ts'
import { attempt, attemptLater, same, type Target, utf8 } from '../target.ts'

const folder = makeFolder()
chmodSync(folder, 0o700)
for (const each of ['contacts', 'groups']) mkdirSync(join(folder, each), { mode: 0o700 })
const home = new Home(folder)
const isCoded = (error: unknown): boolean => error instanceof CliError || error instanceof UsageError
const FILES = ['profile', 'contacts/bob', 'groups/friends', 'card'] as const

/** The first byte chooses a file of the profile, the rest is its content. */
export const target: Target = {
  name: 'profile',
  covers: [
    'cli/profile/home.ts',
    'cli/profile/book.ts',
    'cli/profile/groups.ts',
    'cli/profile/onions.ts',
    'profile/fields.ts',
    'cli/disk/folder.ts',
  ],
  async seeds() {
    const cards = await Promise.all([alice, bob].map((each, n) => makeCard(each, { name: `n${n}`, relays: [ONION], time: NOW })))
    const group = await makeGroup(alice, { id: makeGroupId(alice.key), name: 'Friends', version: 1, time: NOW, members: cards })
    return [
      `0\ufeff# me\r\nname: Alice\r\nkey: ~/.ssh/id\nrelay: ${ONION}\nrelay: localhost\nreceipts: delivered read\nhistory: yes\nsocks: 127.0.0.1:9050\nfiles: /tmp\nseen: no\n`,
      '0outbox: maybe\n',
      `1${cards[1]!.text}verified: 2026-11-26T23:00:00Z\nnote: x\n`,
      `1key: ${formatKey(bob.key)}\nrelay: localhost:3308\n`,
      `2${group.text}left: SHA256:x\n`,
      `3${cards[0]!.text}`,
      `4${ONION.replace('.onion', '')}:descriptor:x25519:${'A'.repeat(52)}`,
    ].map((text) => Buffer.from(text))
  },
  async run(input) {
    const at = (input[0] ?? 0) % 5
    const text = utf8(input.subarray(1))
    if (at === 4) {
      const parsed = attempt(() => parseOnionKey(text), isCoded)
      if ('value' in parsed)
        same('written and read', JSON.stringify(parseOnionKey(formatOnionKey(parsed.value))), JSON.stringify(parsed.value))
      return `onion ${'value' in parsed ? 'key' : 'refused'}`
    }
    const fields = new Fields(text)
    same('fields twice', new Fields(fields.toString()).toString(), fields.toString())
    fields.set('name', 'x')
    same('a set field', fields.all('name').join(), 'x')
    const file = join(folder, FILES[at]!)
    writeFileSync(file, input.subarray(1), { mode: 0o600 })
    try {
      const read = await attemptLater<unknown>(async () => {
        switch (at) {
          case 0:
            return home.readSettings()
          case 1: {
            const book = await home.openBook([])
            for (const known of book.list()) book.find(known.name)
            return book.problems.length
          }
          case 2:
            return (await home.openGroups()).problems.length
          default:
            return home.readCard()
        }
      }, isCoded)
      return `${FILES[at]} ${'value' in read ? (typeof read.value === 'number' ? read.value : read.value === undefined ? 'nothing' : 'read') : read.refused}`
    } finally {
      rmSync(file, { force: true })
    }
  },
}
