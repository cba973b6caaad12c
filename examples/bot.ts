/** A bot that replies to its contacts: node examples/bot.ts KEY RELAY CARD… */
import { readFileSync } from 'node:fs'
import { contactOf, contactsOf, identityOf, openMessenger, parseCard, parsePrivateKey } from 'asfaleia'

const [key = '', relay = '', ...cards] = process.argv.slice(2)
const known = await Promise.all(cards.map((card) => parseCard(readFileSync(card, 'utf8'))))
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())

const messenger = openMessenger({
  identity: identityOf(parsePrivateKey(readFileSync(key))),
  relays: [relay],
  contacts: contactsOf(known.map(contactOf)),
  signal: stop.signal,
})

for await (const message of messenger.received()) {
  const { verdict, from, envelope } = message
  // Replies only to contacts, and only to messages that are new and proven to be theirs.
  // Does not reply to replies, so that two bots do not talk forever.
  if (verdict === 'genuine' && from !== undefined && envelope?.content.type === 'text' && envelope.content.replyTo === undefined) {
    const { text } = envelope.content
    const answer = text === 'time' ? new Date().toISOString() : `You wrote ${text.length} characters. I know \`time\`.`
    messenger.send(from, { type: 'text', text: answer, replyTo: envelope.id })
  }
  // The relay erases the message only now. If the bot is killed before, it replies after a restart.
  await message.done()
}
