/**
 * Runs a program and sends its result to a contact: node examples/notify.ts KEY RELAY CARD -- PROGRAM [ARGUMENT…]
 * Exits once the contact has the message, or after a day; with the program's exit code, or with 75 if the message was
 * not delivered.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { contactOf, contactsOf, identityOf, openMessenger, parseCard, parsePrivateKey } from 'asfaleia'

const [key = '', relay = '', card = '', , program = '', ...args] = process.argv.slice(2)
const owner = contactOf(await parseCard(readFileSync(card, 'utf8')))
const messenger = openMessenger({
  identity: identityOf(parsePrivateKey(readFileSync(key))),
  // The owner's receipt comes to this relay. Without a relay, the program would not learn that the message arrived.
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
