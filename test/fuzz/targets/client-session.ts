import { BreachError } from '../../../src/protocol/breach.ts'
import { ClientSession, type SessionEvent } from '../../../src/protocol/client-session.ts'
import { BYTE_BY_BYTE, chunksOf } from '../../support/chunks.ts'
import { attempt, fail, latin1, same, type Target } from '../target.ts'

/** The requests that an input's first byte chooses, with a token for those that need one. */
function start(first: number, framing: 'line' | 'message'): ClientSession {
  const session = new ClientSession('localhost', framing)
  if ((first & 1) !== 0) session.hello()
  if ((first & 2) !== 0) session.auth('ssh-ed25519 AAAA', false)
  if ((first & 4) !== 0) {
    session.resume('a.b.c')
    session.subscribe()
    session.get(true)
    session.send('key', Uint8Array.of(1))
    session.ack(['0123456789abcdef'])
    session.ping()
    session.wipe()
    session.claim(new Uint8Array(32), 'work')
    session.subscribe('work')
    session.publish(Uint8Array.of(1), 'work')
    session.fetch('key')
  }
  if ((first & 16) !== 0) {
    for (const label of ['a', 'b']) {
      session.claim(new Uint8Array(32), label)
      session.subscribe(label)
    }
    session.fetch('key', 'a')
    session.publish(Uint8Array.of(1), 'b')
    session.claim(new Uint8Array(32), 'a')
  }
  return session
}

function play(session: ClientSession, chunks: readonly Uint8Array[]): SessionEvent[] {
  const events: SessionEvent[] = []
  for (const chunk of chunks) {
    for (const event of session.onChunk(chunk)) {
      events.push(event)
      if (event.kind === 'answer' && event.answer.name === 'AUTH') {
        const checked = attempt(
          () => session.checkChallenge(event.answer.name === 'AUTH' ? event.answer.value.body : new Uint8Array()),
          (error) => error instanceof BreachError,
        )
        if ('value' in checked) session.verify(checked.value)
      }
    }
    if (chunk.some((byte) => byte !== 0)) fail('a chunk is not overwritten')
  }
  session.onEnd()
  if (events.slice(0, -1).some(({ kind }) => kind === 'broken')) fail('an event follows `broken`')
  return events
}

const show = (events: readonly SessionEvent[]): string =>
  JSON.stringify(events, (_key, value: unknown) => (value instanceof Uint8Array ? latin1(value) : value))

const ID = '0123456789abcdef'

export const target: Target = {
  name: 'client-session',
  covers: [
    'protocol/client-session.ts',
    'protocol/answer.ts',
    'protocol/welcome.ts',
    'protocol/errors.ts',
    'protocol/challenge.ts',
    'protocol/breach.ts',
    'protocol/challenge-check.ts',
    'protocol/unacknowledged.ts',
  ],
  seeds: () => [
    '\x0118;asfaleia/1;payload=32768;batch=128;hold=604800\n',
    '\x031;asf\n1;7;YXNmYWxlaWEvMSBhdXRo\n12;a.b.c;3600\n',
    `\x021;7;${Buffer.from(`asfaleia/1 auth localhost 7 ${'A'.repeat(43)}`).toString('base64')}\n12;aa.bb.cc;3600\n`,
    `\x0416;2\n20;${ID};QUJD\n14;2;0\n20;${ID};QUJD\n20;${ID};QUJDRA==\n13;${ID};604800\n15;1\n17\n19;3\n12;a.b.c;3600\n16;0\n21;work;${ID};QUJD\n31;1209600\n33;QUJD\n`,
    `\x1012;a.b.c;3600\n16;1\n21;a;${ID};QUJD\n12;a.b.c;3600\n16;0\n21;b;${ID};QUJD\n33;QUJD\n31;1209600\n12;a.b.c;3600\n`,
    `\x1012;a.b.c;3600\n16;1\n98;taken-over;a\n99;rate-limited;x;5\n99;bad-token;x\n33\n31;0\n99;denied;x\n21;a;${ID};QUJD\n`,
    '\x0499;rate-limited;too fast;30\n99;bad-token;x\n98;taken-over\n98;restarting;5\n98;moved;xyz.onion\n',
  ],
  run(input) {
    const first = input[0] ?? 0
    const body = input.subarray(1)
    const messages = (first & 8) !== 0
    if (messages) {
      const lines: Uint8Array[] = []
      for (let at = 0; at < body.length;) {
        const end = body.indexOf(0x0a, at)
        lines.push(body.slice(at, end === -1 ? undefined : end))
        at = end === -1 ? body.length : end + 1
      }
      return play(start(first, 'message'), lines).at(-1)?.kind ?? 'nothing'
    }
    const whole = play(start(first, 'line'), chunksOf(body, []))
    const bytes = play(start(first, 'line'), chunksOf(body, body.length > 4_096 ? [1, 7, 40, 3, 900] : BYTE_BY_BYTE))
    same('whole and byte by byte', show(whole), show(bytes))
    const last = whole.at(-1)
    return last === undefined ? 'nothing' : last.kind === 'broken' ? last.reason : last.kind
  },
}
