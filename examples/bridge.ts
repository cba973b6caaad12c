/**
 * A bridge for programs that read and write lines: node examples/bridge.ts KEY RELAY CARD
 * Each line of standard input is sent; each text that comes is one line of standard output, as a JSON string, so that
 * nothing in it can be taken for anything else.
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

// The end of the input is the end, once everything has arrived.
const states = await Promise.all(deliveries.map(({ settled }) => settled))
await messenger.flush()
await messenger.close()
await receiving
process.exitCode = states.every((state) => state === 'delivered') ? 0 : 1
