/**
 * Usage: node bench/walk.ts. Prints the packets of a first contact and ten messages as the relay's operator can record them:
 * two people with the real messenger, behind a proxy in Tor's place. Long fields are shortened.
 */
import { randomBytes } from '../src/auth/crypto.ts'
import { encodeOnion } from '../src/onion/address.ts'
import { PACKETS } from '../src/protocol/packets.ts'
import { take } from '../test/support/people.ts'
import { startTestRelay } from '../test/support/relay.ts'
import { cardOf, makeSecret, openSecret } from '../test/support/secret.ts'
import { startTap, type TapLine } from '../test/support/tap.ts'

const MESSAGES = 10

const nameOf = (from: TapLine['from'], no: string): string =>
  Object.entries(PACKETS).find(([, row]) => row.from === from && `${row.no}` === no)?.[0] ?? 'unknown'

function shorten(field: string): string {
  if (field.length <= 24) return field
  return `${field.slice(0, 12)}…${field.length}`
}

const relayName = encodeOnion(randomBytes(32))
const relay = await startTestRelay({ names: [relayName], connections: 100, unproven: 50, memory: 2 ** 24 })
const tap = await startTap(new Map([[relayName, relay.port]]))
const [alice, bob] = [makeSecret('alice', [relayName]), makeSecret('bob', [relayName])] as const
let shown = 0
const show = (title: string): void => {
  process.stdout.write(`# ${title}\n`)
  for (; shown < tap.lines.length; shown++) {
    const { connection, from, text } = tap.lines[shown]!
    const [no = '', ...fields] = text.split(';')
    const arrow = from === 'client' ? '→' : '←'
    process.stdout.write(
      `${`${connection}`.padStart(2)} ${arrow} ${nameOf(from, no).padEnd(10)} ${[no, ...fields.map(shorten)].join(';')}\n`,
    )
  }
}

const people = [alice, bob] as const
const messengers = people.map((person, n) => openSecret(person, [cardOf(people[1 - n]!)], { socks: tap.socks }))
for (const messenger of messengers) {
  await messenger.fetched()
  await messenger.flush()
}
show('both come online')
for (let n = 0; n <= MESSAGES; n++) {
  const [from, to] = [messengers[n % 2]!, messengers[1 - (n % 2)]!]
  const sent = from.send(cardOf(people[1 - (n % 2)]!), { type: 'text', text: `text ${n}` })
  await take(to, 1)
  await sent.settled
  await Promise.all(messengers.map((messenger) => messenger.flush()))
  show(n === 0 ? 'first contact: alice to bob' : `message ${n}: ${people[n % 2]!.name} to ${people[1 - (n % 2)]!.name}`)
}
for (const messenger of messengers) await messenger.close()
await tap.close()
await relay.close()
