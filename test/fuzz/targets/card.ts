import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { seedKey } from '../../../src/auth/seed.ts'
import { CardError, findCard, makeCard, parseCard } from '../../../src/client/format/card.ts'
import { encodeText, fingerprintOf } from '../../../src/client/format/field.ts'
import { sign } from '../../../src/client/format/signed.ts'
import { alice, NOW, ONION } from '../people.ts'
import { attemptLater, fail, same, type Target, utf8 } from '../target.ts'

const isCoded = (error: unknown): boolean => error instanceof CardError

/** After a NUL the input is the text of a card that Alice signs; otherwise a card, a link, or a text with a link. */
export const target: Target = {
  name: 'card',
  covers: ['client/format/card.ts', 'client/format/signed.ts', 'client/format/field.ts', 'transport/address.ts', 'onion/address.ts'],
  longest: 6_000,
  async seeds() {
    const facts = { name: 'Alicë', relays: [ONION, 'localhost:3309'], time: NOW }
    const inbox = seedKey(new Uint8Array(32).fill(7)).public
    const cards = [
      await makeCard(alice, { ...facts, version: 1 }),
      await makeCard(alice, facts),
      await makeCard(alice, { ...facts, inbox }),
    ]
    const recipients = ['age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p', hybridKey(new Uint8Array(32)).recipient]
    for (const recipient of recipients) {
      const made = await attemptLater(() => makeCard({ ...alice, recipient }, facts), isCoded)
      if ('value' in made) cards.push(made.value)
    }
    return cards.flatMap(({ text, link }) => [
      Buffer.from(text),
      link,
      `Hello, > ${link.slice(0, 60)}\n> ${link.slice(60)}.`,
      Buffer.from(`\0${text.slice(0, text.indexOf('-----BEGIN'))}`),
    ])
  },
  async run(input) {
    const isSigned = input[0] === 0
    let text = utf8(isSigned ? input.subarray(1) : input)
    if (isSigned) text = utf8(await sign(alice, 'asfaleia-card', encodeText(text.endsWith('\n') ? text : `${text}\n`)))
    const parsed = await attemptLater(() => parseCard(text), isCoded)
    const found = await attemptLater(() => findCard(text), isCoded)
    if (!('value' in parsed))
      return `${parsed.refused}, ${'value' in found ? (found.value === undefined ? 'no link' : 'found') : found.refused}`
    const card = parsed.value
    if (isSigned && fingerprintOf(card.key) !== fingerprintOf(alice.key)) fail('a card that another key signed')
    same('the link of the text', (await parseCard(card.text)).link, card.link)
    same('the text of the link', (await parseCard(card.link)).text, card.text)
    if (!text.startsWith('asfaleia:')) same('the text', card.text, text)
    return `version ${card.version}`
  },
}
