/**
 * A bridge for programs that read and write lines: node examples/bridge.ts KEY RELAY CARD
 * Sends each line of standard input to the contact. Prints each text of the contact as one line, a JSON string, so that
 * no line break or control character in a text can be mistaken for the bridge's own output.
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { contactOf, contactsOf, identityOf, openMessenger, parseCard, parsePrivateKey } from 'asfaleia'

const [key = '', relay = '', card = ''] = process.argv.slice(2)
const other = contactOf(await parseCard(readFileSync(card, 'utf8')))
const messenger = openMessenger({
  identity: identityOf(parsePrivateKey(readFileSync(key))),
  relays: [relay],
  contacts: contactsOf([other]),
})

const receiving = (async () => {
  for await (const message of messenger.received()) {
    const { verdict, from, envelope } = message
    if (verdict === 'genuine' && from !== undefined && envelope?.content.type === 'text') {
      const line = `${JSON.stringify(envelope.content.text)}\n`
      await new Promise((resolve) => process.stdout.write(line, resolve))
    }
    await message.done()
  }
})()

const deliveries = []
for await (const line of createInterface({ input: process.stdin })) deliveries.push(messenger.send(other, { type: 'text', text: line }))

// At the end of the input, waits until every message is delivered or has failed.
const states = await Promise.all(deliveries.map(({ settled }) => settled))
await messenger.flush()
await messenger.close()
await receiving
process.exitCode = states.every((state) => state === 'delivered') ? 0 : 1
