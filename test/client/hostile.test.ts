/**
 * A hostile relay learns nothing from the library or the command line that it did not know. Each attack must
 * end with one of our errors, and the bytes that the client sent must not contain the secret.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { encryptToKey } from '../../src/auth/age-ssh.ts'
import { generatePrivateKey, parsePrivateKey } from '../../src/auth/private-key.ts'
import { run as runGet } from '../../src/cli/commands/get.ts'
import { run as runSend } from '../../src/cli/commands/send.ts'
import { printError } from '../../src/cli/program/error.ts'
import { EXIT } from '../../src/cli/program/exit.ts'
import { connectRelay } from '../../src/client/wire/connect.ts'
import { identityOf } from '../../src/client/format/identity.ts'
import { RelayError } from '../../src/client/wire/error.ts'
import {
  challengeLine,
  challengePacket,
  HANDLE,
  honestly,
  type HostileRelay,
  NONCE,
  type Peer,
  startHostileRelay,
  TOKEN,
} from '../support/hostile-relay.ts'
import { createTestIo } from '../support/terminal.ts'

const folder = mkdtempSync(join(tmpdir(), 'asfaleia-hostile-'))
const keyFile = join(folder, 'key')
const generated = generatePrivateKey('victim')
writeFileSync(keyFile, generated.file, { mode: 0o600 })
writeFileSync(`${keyFile}.pub`, `${generated.public}\n`)
const key = parsePrivateKey(Buffer.from(generated.file))
const victim = key.public
const SECRET = 'the-password-is-hunter2'

let relay: HostileRelay | undefined
afterEach(async () => {
  await relay?.close()
  relay = undefined
})
afterAll(() => rmSync(folder, { recursive: true }))

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a command in this process, as src/cli/main.ts does. */
async function command(run: typeof runGet, argv: string[]): Promise<Outcome> {
  const io = createTestIo()
  io.stdin.end()
  const code = await run(argv, io).catch((error: unknown) => printError(io, error))
  return { code, out: io.out(), err: io.err() }
}

const get = (address: string, ...more: string[]): Promise<Outcome> => command(runGet, ['--relay', address, '--key', keyFile, ...more])
const send = (address: string, ...more: string[]): Promise<Outcome> =>
  command(runSend, ['--relay', address, '--key', keyFile, ...more, `${keyFile}.pub`, SECRET])

/** Expects one or two of our own lines without control characters, and nothing of the relay's text. */
function expectOurWords({ err, out }: Outcome): void {
  expect(err).toMatch(/^(asfaleia: a message that does not open [^\n]+\n)?asfaleia: error: [^\n]+\n(asfaleia: hint: [^\n]+\n)?$/)
  expect(`${out}${err}`.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  expect(`${out}${err}`).not.toContain(SECRET)
  expect(`${out}${err}`).not.toContain('RELAYTEXT')
}

describe('a client does not answer a challenge that holds', () => {
  const line = challengeLine()
  const served: [string, string | Uint8Array][] = [
    ['a captured message', SECRET],
    ['a message of two lines, the first a challenge', `${line}\n${SECRET}`],
    ['a message in the place of the nonce', line.replace(NONCE, SECRET)],
    ['a message in the place of the relay', line.replace('localhost', SECRET)],
    ['another relay’s challenge', challengeLine('other.example')],
    ['another connection’s handle', challengeLine('localhost', '4243')],
    ['an extra byte', `${line} `],
    ['a trailing newline', `${line}\n`],
    ['upper case', line.toUpperCase()],
    ['nothing', ''],
    ['bytes that are not text', Uint8Array.from({ length: 64 }, (_, i) => 255 - i)],
    ['a long text', SECRET.repeat(100)],
  ]
  for (const sign of [false, true]) {
    test.each(served.filter(([, text]) => !sign || text.length > 0))(`${sign ? 'sign' : 'decrypt'}: %s`, async (_name, text) => {
      relay = await startHostileRelay(async (peer) => {
        await peer.line()
        await peer.say('18;asfaleia/1\n')
        await peer.line()
        await peer.say(await challengePacket(text, victim, sign))
        // Keep reading until the client has closed the connection.
        while ((await peer.line()) !== undefined);
      })
      const client = await connectRelay({ relay: relay.address, identity: identityOf(key), sign })
      const error: unknown = await client.login().catch((caught: unknown) => caught)
      expect(error).toMatchObject({ name: 'RelayError', code: 'hostile-challenge', reason: 'foreign-challenge' })
      expect(`${(error as Error).stack} ${JSON.stringify(error)}`).not.toContain(SECRET)
      await expect(client.ping()).rejects.toMatchObject({ code: 'hostile-challenge' })

      const outcome = await get(relay.address, ...(sign ? ['--sign'] : []))
      expect(outcome).toMatchObject({ code: EXIT.refused, out: '' })
      expectOurWords(outcome)
      await relay.close()
      expect(
        relay
          .received()
          .split('\n')
          .map((sent) => sent.split(';')[0]),
      ).toEqual(['8', '0', '8', '0', ''])
      expect(relay.received()).not.toContain(SECRET)
    })
  }

  test('the captured ciphertext of a message, byte for byte', async () => {
    const captured = await encryptToKey(Buffer.from(SECRET), victim)
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('18;asfaleia/1\n')
      await peer.line()
      await peer.say(`1;${HANDLE};${Buffer.from(captured).toString('base64')}\n`)
      while ((await peer.line()) !== undefined);
    })
    const outcome = await send(relay.address)
    expect(outcome.code).toBe(EXIT.refused)
    expectOurWords(outcome)
    expect(relay.received()).not.toMatch(/^2;/m)
  })

  test('an age file to another key, or no age file', async () => {
    const other = parsePrivateKey(Buffer.from(generatePrivateKey('').file)).public
    for (const packet of [await challengePacket(line, other), '1;4242;aGVsbG8=\n']) {
      const hostile = await startHostileRelay(async (peer) => {
        await peer.line()
        await peer.say('18;asfaleia/1\n')
        await peer.line()
        await peer.say(packet)
        while ((await peer.line()) !== undefined);
      })
      expect(await get(hostile.address)).toMatchObject({ code: EXIT.refused })
      await hostile.close()
      expect(hostile.received()).not.toMatch(/^2;/m)
    }
  })

  test('a proof by the method that the client did not request', async () => {
    for (const sign of [true, false]) {
      const hostile = await startHostileRelay(async (peer) => {
        await peer.line()
        await peer.say('18;asfaleia/1\n')
        await peer.line()
        await peer.say(await challengePacket(line, victim, !sign))
        while ((await peer.line()) !== undefined);
      })
      const client = await connectRelay({ relay: hostile.address, identity: identityOf(key), sign })
      await expect(client.login()).rejects.toMatchObject({ code: 'hostile-challenge' })
      await hostile.close()
      expect(hostile.received()).not.toMatch(/^2;/m)
    }
  })

  test('a second challenge before the answer to the first', async () => {
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('18;asfaleia/1\n')
      await peer.line()
      const packet = await challengePacket(line, victim)
      await peer.say(`${packet}${packet}`)
      while ((await peer.line()) !== undefined);
    })
    expect(await get(relay.address)).toMatchObject({ code: EXIT.refused })
    expect(relay.received()).not.toMatch(/^2;/m)
  })

  test('another challenge than that of a new AUTH', async () => {
    relay = await startHostileRelay(async (peer) => {
      await honestly(peer, victim)
      await peer.line()
      await peer.say('99;bad-token;RELAYTEXT\n')
      await peer.line()
      await peer.say(await challengePacket(SECRET, victim))
      while ((await peer.line()) !== undefined);
    })
    const outcome = await get(relay.address)
    expect(outcome.code).toBe(EXIT.refused)
    expectOurWords(outcome)
    expect(relay.received().match(/^2;/gm)).toHaveLength(1)
    expect(relay.received()).not.toContain(SECRET)
  })
})

describe('a client ends the connection with one clear error if the relay sends', () => {
  const afterLogin: [string, string, number][] = [
    ['a batch of too few', '14;2;0\n20;m1;aGk=\n17\n', EXIT.refused],
    ['a batch of too many', '14;1;0\n20;m1;aGk=\n20;m2;aGk=\n', EXIT.refused],
    ['a gigantic count', '14;999999999999999;999999999999999\n', EXIT.refused],
    ['a count that is not a number', '14;NaN;0\n', EXIT.refused],
    ['the answer to another request', '13;m1;60\n', EXIT.refused],
    ['an unknown packet', '77;RELAYTEXT\n', EXIT.refused],
    ['a text that is not a packet', 'HTTP/1.1 400 Bad Request RELAYTEXT\r\n', EXIT.refused],
    ['escape sequences in an error', '99;denied;\u{1b}[2J\u{1b}]0;RELAYTEXT\u{7}\n', EXIT.refused],
    ['escape sequences in an error’s code', '99;\u{1b}[2JRELAYTEXT;text\n', EXIT.refused],
    ['escape sequences in an error’s detail', '99;rate-limited;text;\u{1b}[2JRELAYTEXT\n', EXIT.failed],
    ['bidi in an error', '99;mailbox-full;\u{202e}RELAYTEXT\n', EXIT.failed],
    ['escape sequences in a message’s id', '14;1;0\n20;\u{1b}[2JRELAYTEXT;aGk=\n', EXIT.refused],
    ['a message without a request', '20;m1;aGk=\n', EXIT.refused],
    ['an error that ends the connection', '99;restarting;RELAYTEXT;30\n', EXIT.unreachable],
  ]
  test.each(afterLogin)('%s', async (_name, said, code) => {
    relay = await startHostileRelay(async (peer) => {
      await honestly(peer, victim)
      await peer.line()
      await peer.say(said)
      while ((await peer.line()) !== undefined);
    })
    const outcome = await get(relay.address)
    expect(outcome).toMatchObject({ code, out: '' })
    expectOurWords(outcome)
  })

  test.each([
    ['a token of junk', '12;RELAYTEXT;3600\n'],
    ['a token of escape sequences', '12;a.\u{1b}[2J.c;3600\n'],
    ['a token over the length limit', `12;a.b.${'c'.repeat(7_000)};3600\n`],
    ['a token whose lifetime is not a number', '12;a.b.c;soon\n'],
  ])('%s', async (_name, said) => {
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('18;asfaleia/1\n')
      await peer.line()
      await peer.say(await challengePacket(challengeLine(), victim))
      await peer.line()
      await peer.say(said)
      while ((await peer.line()) !== undefined);
    })
    const outcome = await get(relay.address)
    expect(outcome.code).toBe(EXIT.refused)
    expectOurWords(outcome)
  })

  test('an endless line', async () => {
    let said = 0
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      while (await peer.say('x'.repeat(65_536))) said += 65_536
    })
    const outcome = await get(relay.address)
    expect(outcome.code).toBe(EXIT.refused)
    expectOurWords(outcome)
    // The kernel and Node buffer some bytes before the client closes; without the limit it would never end.
    expect(said).toBeLessThan(64 * 1_048_576)
  })

  test.each([
    ['answers', '17\n'],
    ['notices', '98;x\n'],
    ['empty lines', '\n'],
    ['messages', '20;m1;aGk=\n'],
    ['errors', '99;denied;text\n'],
  ])('a million short lines: %s', async (_name, line) => {
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      for (let i = 0; i < 1_000 && (await peer.say(line.repeat(1_000))); i++);
      await peer.gone
    })
    const outcome = await get(relay.address)
    expect(outcome.code).toBe(EXIT.refused)
    expectOurWords(outcome)
  })

  test('messages of a subscription faster than the program takes them', async () => {
    relay = await startHostileRelay(async (peer) => {
      await honestly(peer, victim)
      await peer.line()
      await peer.say('16;0\n')
      for (let batch = 0; batch < 1_000; batch++) {
        if (!(await peer.say(Array.from({ length: 1_000 }, (_, i) => `20;m${batch}-${i};aGk=\n`).join('')))) break
      }
      await peer.gone
    })
    const client = await connectRelay({ relay: relay.address, identity: identityOf(key) })
    const taken = (async () => {
      for await (const message of client.subscribe()) await new Promise((resolve) => client.onEnd(() => resolve(message)))
    })()
    await expect(taken).rejects.toMatchObject({ code: 'broken-relay', reason: 'too-much' })
  })

  test('limits above its caps, which it ignores without ending the connection', async () => {
    relay = await startHostileRelay(async (peer) => {
      await honestly(peer, victim, 'payload=999999999999999;line=999999999999999;window=0;batch=999999999999999;idle=0;hold=x')
      await peer.line()
      await peer.say(`13;m1;60\n`)
      await peer.gone
    })
    const client = await connectRelay({ relay: relay.address, identity: identityOf(key) })
    expect(client.limits).toMatchObject({ payload: 1_048_576, window: 64, batch: 4_096, idle: 900 })
    await expect(client.sendSealed(victim, Buffer.alloc(1_048_576))).rejects.toMatchObject({ code: 'too-large' })
    expect(relay.received()).not.toMatch(/^3;/m)
    client.close()
  })
})

describe('a client of a slow or vanished relay', () => {
  /** Sends one byte at a time for ever, never a whole packet. */
  const drip = async (peer: Peer): Promise<void> => {
    while (await peer.say('1')) await turn()
  }
  test('times out if the answer never completes', async () => {
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('18;asfaleia/1')
      await peer.gone
    })
    const outcome = await get(relay.address, '--timeout', '0.2')
    expect(outcome.code).toBe(EXIT.unreachable)
    expectOurWords(outcome)
  })

  test('gives up if the relay drips single bytes for ever', async () => {
    relay = await startHostileRelay(drip)
    const outcome = await get(relay.address, '--timeout', '0.2')
    // One of two limits ends it: the time for an answer, or the length of a line.
    expect([EXIT.unreachable, EXIT.refused]).toContain(outcome.code)
    expectOurWords(outcome)
  })

  const steps: [string, (peer: Peer) => Promise<void>][] = [
    ['at once', async () => {}],
    ['after HELLO', async (peer) => void (await peer.line())],
    ['after WELCOME', async (peer) => void (await peer.line(), await peer.say('18;asfaleia/1\n'), await peer.line())],
    ['in the middle of WELCOME', async (peer) => void (await peer.line(), await peer.say('18;asfa'))],
    [
      'after CHALLENGE',
      async (peer) => {
        await peer.line()
        await peer.say('18;asfaleia/1\n')
        await peer.line()
        await peer.say(await challengePacket(challengeLine(), victim))
      },
    ],
    ['after TOKEN', (peer) => honestly(peer, victim)],
    ['in the middle of an answer', async (peer) => void (await honestly(peer, victim), await peer.line(), await peer.say('1'))],
  ]
  test.each(steps)('reports the relay as unreachable if it hangs up %s', async (_name, script) => {
    relay = await startHostileRelay(script)
    for (const outcome of [await get(relay.address), await send(relay.address)]) {
      expect(outcome.code).toBe(EXIT.unreachable)
      expectOurWords(outcome)
    }
  })
})

test('a client whose relay hangs up before all announced messages came prints the received ones and reports the error', async () => {
  const payload = Buffer.from(await encryptToKey(Buffer.from(SECRET), victim)).toString('base64')
  relay = await startHostileRelay(async (peer) => {
    await honestly(peer, victim)
    await peer.line()
    await peer.say(`16;2\n20;m1;${payload}\n`)
  })
  const outcome = await get(relay.address)
  expect(outcome).toMatchObject({ code: EXIT.unreachable, out: `[unsigned: anyone may have written this]: ${SECRET}\n` })
  expect(outcome.err).toMatch(/^asfaleia: error: [^\n]+\n$/)
  expect(relay.received()).toMatch(/^6;/m)
})

describe('a client of a misbehaving relay', () => {
  test('prints a returned payload without its escape sequences, and acknowledges it afterwards', async () => {
    const text = `${SECRET}\u{1b}]0;title\u{7}\u{202e}x\r\n`
    const payload = Buffer.from(await encryptToKey(Buffer.from(text), victim)).toString('base64')
    const junk = Buffer.from('not an age file').toString('base64')
    const script = async (peer: Peer): Promise<void> => {
      await honestly(peer, victim)
      await peer.line()
      await peer.say(`16;2\n20;m1;${payload}\n20;m2;${junk}\n`)
      while ((await peer.line())?.startsWith('5;') === true) await peer.say('15;1\n')
    }
    relay = await startHostileRelay(script)
    const plain = await get(relay.address)
    expect(plain.code).toBe(EXIT.ok)
    expect(plain.out).toBe(`[unsigned: anyone may have written this]: ${SECRET}\\u{1b}]0;title\\u{7}\\u{202e}x\n`)
    expect(plain.err).toBe('asfaleia: dropped a message that this key cannot decrypt\n')
    // Messages that open and messages that do not are acknowledged alike, so that the relay cannot tell them
    // apart.
    expect(relay.received().match(/^5;.*/gm)).toEqual([`5;${TOKEN};m1`, `5;${TOKEN};m2`])

    const json = await get(relay.address, '--json')
    expect(json.out).toMatch(/^[\x20-\x7e\n]*$/)
    expect(
      json.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toEqual([
      { verdict: 'unsigned', relay: relay.address, text },
      { verdict: 'unreadable', relay: relay.address },
    ])
  })

  test('does not acknowledge a message that stdout did not accept', async () => {
    const payload = Buffer.from(await encryptToKey(Buffer.from(SECRET), victim)).toString('base64')
    relay = await startHostileRelay(async (peer) => {
      await honestly(peer, victim)
      await peer.line()
      await peer.say(`16;1\n20;m1;${payload}\n`)
      while ((await peer.line()) !== undefined);
    })
    const io = createTestIo()
    io.stdout.destroy()
    const code = await runGet(['--relay', relay.address, '--key', keyFile], io).catch((error: unknown) => printError(io, error))
    expect(code).toBe(EXIT.failed)
    await relay.close()
    expect(relay.received()).not.toMatch(/^5;/m)
  })

  test('reports that the relay does not answer to the dialled name, and never answers its challenge', async () => {
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('99;wrong-usage;RELAYTEXT\n')
      await peer.gone
    })
    const outcome = await get(relay.address)
    expect(outcome.code).toBe(EXIT.refused)
    expectOurWords(outcome)
    expect(outcome.err).toContain('does not go by the name')
    // The key goes out together with HELLO to save a round trip.
    expect(relay.received()).toMatch(/^8;asfaleia\/1;localhost\n0;ssh-ed25519 [^\n]+\n$/)
  })

  test('maps an unknown error code of the relay to `unknown`', async () => {
    relay = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('99;__proto__;text\n')
      await peer.gone
    })
    const error: unknown = await connectRelay({ relay: relay.address, identity: identityOf(key) }).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(RelayError)
    expect(error).toMatchObject({ code: 'unknown' })
  })
})
