import { decodeContent, encodeContent } from '../../../src/client/format/content.ts'
import { decodeText, encodeText, fingerprintOf, formatKey, formatTime } from '../../../src/client/format/field.ts'
import { judge } from '../../../src/client/format/message.ts'
import { byName, encodeHeader, parseHeader, sign } from '../../../src/client/format/signed.ts'
import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { alice, bob, NOW, ONION } from '../people.ts'
import { fail, latin1, same, type Target } from '../target.ts'

const ID = `${'A'.repeat(21)}Q`
const RECIPIENT = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p'
const PQ = hybridKey(new Uint8Array(32)).recipient
const HASH = 'ab'.repeat(32)

function text(type: string, headers: readonly string[], body: string): string {
  const lines = [
    `type: ${type}`,
    `from: ${formatKey(alice.key)}`,
    `to: ${fingerprintOf(bob.key)}`,
    `id: ${ID}`,
    `time: ${formatTime(NOW)}`,
    ...headers,
  ]
  return `asfaleia-message/1\n${lines.join('\n')}\n\n${body}\n`
}

/** After a NUL the input is a text that Alice signs, otherwise a text as it came. */
export const target: Target = {
  name: 'message',
  covers: [
    'client/format/message.ts',
    'client/format/content.ts',
    'client/format/answer.ts',
    'client/format/signed.ts',
    'client/format/field.ts',
  ],
  longest: 5_000,
  async seeds() {
    const texts = [
      text('text', [`reply-to: ${ID}`, `after: ${ID}`], 'Hello'),
      text('receipt', ['state: read'], `${ID}\n${ID}`),
      text('file', [`file: ${ID}`, 'name: a.txt', 'total: 3', `hash: ${HASH}`, 'part: 1/1'], 'abc'),
      text('file', [`file: ${ID}`, 'name: b.txt', 'total: 99999', `hash: ${HASH}`, 'part: 0/7'], ''),
      text('have', [`file: ${ID}`], '1-3 5 7-65536'),
      text('have', [`file: ${ID}`], 'done'),
      text('edit', [`of: ${ID}`], 'new'),
      text('remove', [`of: ${ID}`], ''),
      text('card', [], 'asfaleia-card/1'),
      text('group', [`group: ${ID}`], 'asfaleia-group/1'),
      text('text', [`keys: ${PQ} ${RECIPIENT}`, 'left: 3', `begin: ${'A'.repeat(86)}`, `address: ${fingerprintOf(bob.key)} ${ONION}`], 'x'),
      text('text', ['card: asfaleia:card/2:name=x', 'left: 64'], 'x'),
      text('leave', [`group: ${ID}`], ''),
      text('later-type', [], 'x'),
    ]
    const signed = await sign(alice, 'asfaleia-message', encodeText(texts[0]!))
    return [...texts.map((each) => `\0${each}`), signed, `${latin1(signed)}\n\n`, 'plain', 'asfaleia-message/2\n']
  },
  async run(input) {
    const isSigned = input[0] === 0
    const body = isSigned ? input.slice(1) : input
    const end = body.at(-1) === 0x0a ? body : Uint8Array.from([...body, 0x0a])
    const given = isSigned ? await sign(alice, 'asfaleia-message', end) : body
    const opened = await judge(bob.key, given, { now: NOW })
    if (!('envelope' in opened)) {
      if (opened.verdict === 'unsigned' && isSigned && latin1(body).startsWith('asfaleia-message/')) fail('a signed text is unsigned')
      return opened.verdict
    }
    const { envelope, verdict } = opened
    const isAlice = fingerprintOf(envelope.from) === fingerprintOf(alice.key)
    if (verdict === 'unverifiable') fail('Node cannot check a signature')
    if ((verdict === 'genuine' || verdict === 'readdressed') && !isAlice) fail(`another sender's message is ${verdict}`)
    const { content } = envelope
    const encoded = encodeContent(content)
    const header = byName(
      parseHeader(
        encodeHeader('x', [...encoded.headers, ['group', ID], ['type', content.type === 'unknown' ? content.name : content.type]]),
      )!.headers,
    )!
    same('content', show(decodeContent(header, encoded.body)), show(content))
    return `${verdict}, ${content.type}`
  },
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_key, each: unknown) => (each instanceof Uint8Array ? (decodeText(each) ?? latin1(each)) : each)) ?? 'nothing'
