import { createHmac } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { getInfo } from '../../../src/tor/control.ts'
import { ReplyReader } from '../../../src/tor/reply.ts'
import { parseTorReport, readTorState, TOR_SUMMARIES, type TorState } from '../../../src/tor/state.ts'
import { makeFolder, startPeer } from '../peer.ts'
import { fail, latin1, same, type Target } from '../target.ts'

const peer = await startPeer()
const folder = makeFolder()
mkdirSync(folder, { recursive: true })
const COOKIE = join(folder, 'cookie')
writeFileSync(COOKIE, Buffer.alloc(32, 9))

/** Feeds replies to the reader. */
function read(text: string, size: number): string {
  const reader = new ReplyReader()
  const replies = []
  for (let at = 0; at < text.length; at += size) replies.push(...reader.read(text.slice(at, at + size)))
  if (replies.some(({ lines }) => lines.length === 0)) fail('a reply without a line')
  return JSON.stringify([replies, reader.isBroken])
}

/** Answers a challenge as a tor that knows the cookie. */
function proveCookie(command: string): string {
  const ours = /SAFECOOKIE ([0-9a-f]+)/.exec(command)?.[1] ?? ''
  const material = Buffer.concat([Buffer.alloc(32, 9), Buffer.from(ours, 'hex'), Buffer.alloc(32, 0xbb)])
  const key = 'Tor safe cookie authentication server-to-controller hash'
  return createHmac('sha256', key).update(material).digest('hex').toUpperCase()
}

function check({ bootstrap, summary }: TorState): void {
  if (bootstrap !== undefined && !(Number.isInteger(bootstrap) && bootstrap >= 0 && bootstrap <= 100)) fail(`the start is at ${bootstrap}`)
  if (!TOR_SUMMARIES.includes(summary)) fail(`the summary is ${summary}`)
}

/**
 * The input is the bytes of a control port: at once for the reader, and divided by `%` into replies for a conversation,
 * in which `@COOKIE` is the path of tor's cookie and `@HASH` the right proof.
 */
export const target: Target = {
  name: 'tor-control',
  covers: ['tor/control.ts', 'tor/reply.ts', 'tor/state.ts'],
  longest: 1_500,
  seeds: () => [
    `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE="@COOKIE"\r\n250 OK\r\n%250 AUTHCHALLENGE SERVERHASH=@HASH SERVERNONCE=${'B'.repeat(64)}\r\n%250 OK\r\n`,
    '250-AUTH METHODS=NULL\r\n250 OK\r\n%250 OK\r\n%250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"\r\n250 OK\r\n',
    '250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n',
    '650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=5\r\n515 no\r\n',
    '250+key=\r\na\r\n..b\r\n.\r\n250 OK\r\n',
    '100 done\n',
    '42 conn\n',
  ],
  async run(input) {
    const text = latin1(input)
    const whole = read(text, text.length || 1)
    // Only the text that the reader takes as one reply may differ from its chunks: its bound is the same.
    if (text.length < 1_000) same('whole and byte by byte', whole, read(text, 1))
    const report = parseTorReport({ text, ageSeconds: 1 })
    check(report)
    await getInfo(async () => ({ ok: true, lines: text.split('\r\n') }), 'key')
    const replies = text.replace('@COOKIE', COOKIE).split('%')
    peer.play((socket) => {
      socket.on('data', (command: Buffer) => {
        const reply = replies.shift()?.replace('@HASH', () => proveCookie(command.toString('latin1')))
        if (reply === undefined) socket.destroy()
        else socket.write(reply, 'latin1')
        // A reply that is not whole would be waited for.
        if (reply !== undefined && !reply.endsWith('\r\n')) socket.end()
      })
      setTimeout(() => socket.destroy(), 60).unref()
    })
    const state = await readTorState({ kind: 'unix', path: peer.path }, { timeoutMs: 2_000 })
    check(state)
    return `${state.summary} ${report.summary}`
  },
}
