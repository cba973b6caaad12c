/**
 * Runs a program and tells somebody how it ended: node examples/notify.ts KEY RELAY CARD -- PROGRAM [ARGUMENT…]
 * Ends when that one has the message, or after a day; with the program's exit code, or 75 if nobody was told.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { contactOf, contactsOf, identityOf, openMessenger, parseCard, parsePrivateKey } from 'asfaleia'

const [key = '', relay = '', card = '', , program = '', ...args] = process.argv.slice(2)
const owner = contactOf(await parseCard(readFileSync(card, 'utf8')))
const messenger = openMessenger({
  identity: identityOf(parsePrivateKey(readFileSync(key))),
  // Where the owner's receipt comes: without a relay of one's own nobody says that it arrived.
  relays: [relay],
  contacts: contactsOf([owner]),
})

const started = Date.now()
const child = spawn(program, args, { stdio: 'inherit' })
const code = await once(child, 'close').then(
  ([code]) => code as number | null,
  () => null,
)
const minutes = Math.round((Date.now() - started) / 60_000)
const text = code === 0 ? `${program} is done (${minutes} min)` : `${program} FAILED with ${code ?? 'a signal'} (${minutes} min)`

const state = await messenger.send(owner, { type: 'text', text }, { deadline: 86_400 }).settled
await messenger.close()
process.exitCode = state === 'delivered' ? (code ?? 1) : 75
