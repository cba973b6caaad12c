import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sealFor } from '../../../src/client/format/envelope.ts'
import { Seen } from '../../../src/client/delivery/seen.ts'
import { followNameFile } from '../../../src/server/name-file.ts'
import { History } from '../../../src/cli/chat/history.ts'
import { openOutbox } from '../../../src/cli/profile/state.ts'
import { CliError } from '../../../src/cli/program/error.ts'
import { makeFolder } from '../peer.ts'
import { alice, NOW, ONION } from '../people.ts'
import { attemptLater, fail, latin1, same, type Target } from '../target.ts'

const folder = makeFolder()
chmodSync(folder, 0o700)
const ID = `${'A'.repeat(21)}Q`
const TAG = 'A'.repeat(22)
const entry = { id: ID, to: 'SHA256:x', relays: [ONION], held: [], time: NOW, deadline: NOW + 60, confirm: true, payload: 'QUJD' }
const record = { conversation: 'x', author: 'Bob', at: NOW, text: 'hi', verdict: 'genuine', mine: true, deliveries: [] }
const delivery = { id: ID, member: 'SHA256:x', to: 'Bob', state: 'held' }

/** `s`: the tags of seen messages. `o`: the outbox before its encryption. `h`: a line of the history before its
 * encryption. `n`: the relay's name file. */
export const target: Target = {
  name: 'state',
  covers: ['client/delivery/seen.ts', 'cli/profile/state.ts', 'cli/chat/history.ts', 'server/name-file.ts'],
  longest: 2_000,
  seeds: () => [
    `sasfaleia-seen/1\nsince ${NOW - 100}\n${TAG} ${NOW + 86_400}\nB${TAG.slice(1)} ${NOW - 1}\n`,
    `oasfaleia-outbox/1\n${JSON.stringify(entry)}\n${JSON.stringify({ ...entry, held: [ONION], id: 'x' })}\n`,
    `h${JSON.stringify({ kind: 'message', message: { ...record, deliveries: [delivery] } })}\n${JSON.stringify({ kind: 'state', id: ID, state: 'read', why: 'x' })}`,
    `n${ONION}\n`,
    `nlocalhost\n${ONION}\n`,
  ],
  async run(input) {
    const body = input.subarray(1)
    switch (String.fromCharCode(input[0] ?? 0)) {
      case 's': {
        const seen = Seen.decode(body, NOW, 8)
        if (seen === undefined) return 'no tags'
        if (seen.size > 8) fail('too many tags')
        const again = Seen.decode(seen.encode(), NOW, 8)
        if (again === undefined) return fail('the tags cannot be read again')
        same('tags', latin1(again.encode()), latin1(seen.encode()))
        seen.merge(again, NOW)
        seen.add({ from: alice.key, id: ID, time: NOW }, NOW)
        return `${Math.min(seen.size, 3)} tags`
      }
      case 'o': {
        const path = join(folder, 'outbox.age')
        writeFileSync(path, await sealFor(alice, body), { mode: 0o600 })
        const outbox = await openOutbox(folder, alice)
        try {
          const read = await attemptLater(
            () => outbox.load(),
            (error) => error instanceof CliError,
          )
          if (!('value' in read)) return 'outbox refused'
          const isText = (each: unknown): boolean => typeof each === 'string'
          for (const { id, to, relays, held, time } of read.value) {
            if (![id, to, ...relays, ...held].every(isText) || typeof time !== 'number') fail('an entry of another form')
          }
          await outbox.save(read.value)
          same('the outbox', JSON.stringify(await outbox.load()), JSON.stringify(read.value))
          return `outbox of ${Math.min(read.value.length, 2)}`
        } finally {
          await outbox.release()
          rmSync(path, { force: true })
        }
      }
      case 'h': {
        const line = Buffer.from(await sealFor(alice, body)).toString('base64')
        writeFileSync(join(folder, 'a.history'), `${line}\n`)
        const { kept, problems } = await new History(folder, alice, 'b').read()
        for (const { deliveries } of kept) if (deliveries.some(({ id }) => typeof id !== 'string')) fail('a record of another form')
        return `history of ${Math.min(kept.length, 2)}, ${problems.length} problems`
      }
      default: {
        const path = join(folder, 'name')
        writeFileSync(path, body)
        const names: string[] = []
        const following = followNameFile(path, ({ name, left }) => names.push(name, ...left))
        following.stop()
        if (!names.every((name) => /^(?:localhost|[a-z2-7]{56}\.onion)$/.test(name))) fail(`a name is ${names.join()}`)
        return `name ${following.problem() ?? 'good'}`
      }
    }
  },
}
